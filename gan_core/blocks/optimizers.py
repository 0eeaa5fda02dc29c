"""Optimizers for `Phase.optimizer`: torch's, with its fused kernels where it has them."""

from collections.abc import Callable
from inspect import unwrap
from typing import Any

import torch
from torch import optim

from gan_core.game.phase import MakeOptimizer


def adam(
    lr: float, betas: tuple[float, float] = (0.9, 0.999), epsilon: float = 1e-8, *, lazy_every: int | None = None
) -> MakeOptimizer:
    """Adam (Kingma & Ba 2015, algorithm 1).

    Args:
        lr: Learning rate, above 0.
        betas: Decay rates of the first and the second moment, in [0, 1). GANs often set the first to 0.5 (Radford et
            al. 2016) or 0.
        epsilon: Added to the denominator.
        lazy_every: k, if a phase of lazy regularisation also steps this optimizer in every k-th training step. The
            learning rate becomes c · lr and each decay rate β becomes β^c, with c = k / (k + 1), so that k + 1 steps
            have the effect of k (Karras et al. 2020, Analyzing and Improving the Image Quality of StyleGAN, appendix
            B).

    Raises:
        ValueError: `lazy_every` is below 1.
    """
    if lazy_every is not None:
        if lazy_every < 1:
            raise ValueError(f"lazy_every is {lazy_every}, but must be at least 1")
        correction = lazy_every / (lazy_every + 1)
        lr, betas = lr * correction, (betas[0] ** correction, betas[1] ** correction)
    return lambda parameters: Adam(parameters, lr=lr, betas=betas, eps=epsilon, fused=True)


def rmsprop(lr: float, alpha: float = 0.99) -> MakeOptimizer:
    """RMSProp (Hinton 2012, lecture 6e), used by WGAN (Arjovsky et al. 2017, algorithm 1).

    Args:
        lr: Learning rate, above 0.
        alpha: Decay rate of the mean of squared gradients, in [0, 1).
    """
    return lambda parameters: RMSprop(parameters, lr=lr, alpha=alpha)


def sgd(lr: float, momentum: float = 0.0, nesterov: bool = False) -> MakeOptimizer:
    """Stochastic gradient descent, optionally with (Nesterov) momentum (Sutskever et al. 2013).

    Args:
        lr: Learning rate, above 0.
        momentum: Momentum factor, in [0, 1).
        nesterov: Whether to use Nesterov momentum; needs a momentum above 0.
    """
    return lambda parameters: optim.SGD(parameters, lr=lr, momentum=momentum, nesterov=nesterov, fused=True)


class Adam(optim.Adam):
    """torch's fused Adam, with the same state, whose step runs less Python code, which small networks notice.

    torch's own class also imports torch._dynamo, which takes longer than all else before the first step.
    """

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Takes one step."""
        hooks = self._optimizer_step_pre_hooks or self._optimizer_step_post_hooks
        # A gradient scaler may cancel the step.
        if closure or hooks or hasattr(self, "found_inf") or not self.param_groups[0]["fused"]:
            return self.profile_hook_step(unwrap(optim.Adam.step))(self, closure)
        for group in self.param_groups:
            given = [parameter for parameter in group["params"] if parameter.grad is not None]
            states = [self.state[parameter] for parameter in given]
            if not all(states):
                self._init_group(group, [], [], [], [], [], [])  # type: ignore[no-untyped-call]
            if not given:
                continue
            steps = [state["step"] for state in states]
            torch._foreach_add_(steps, 1)
            torch._fused_adam_(
                given,
                [parameter.grad for parameter in given],
                [state["exp_avg"] for state in states],
                [state["exp_avg_sq"] for state in states],
                [],
                steps,
                lr=group["lr"],
                beta1=group["betas"][0],
                beta2=group["betas"][1],
                weight_decay=group["weight_decay"],
                eps=group["eps"],
                amsgrad=False,
                maximize=False,
                grad_scale=None,
                found_inf=None,
            )
        return None

    step.hooked = True  # type: ignore[attr-defined]  # Otherwise torch wraps it in records for its profiler, and hooks.
    # Without the decorator that imports torch._dynamo.
    add_param_group = unwrap(optim.Optimizer.add_param_group)
    state_dict = unwrap(optim.Optimizer.state_dict)
    load_state_dict = unwrap(optim.Optimizer.load_state_dict)


class RMSprop(optim.RMSprop):
    """torch's RMSprop, whose step a gradient scaler can cancel on the device, like those of torch's fused optimizers.

    For torch's own class the scaler waits for the device in every step, to decide whether to take it. Only the count of
    steps in its state, which RMSprop does not use, includes the cancelled ones.
    """

    _step_supports_amp_scaling = True  # The scaler sets the attribute `found_inf`, a tensor, for the time of the step.

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Takes one step, or none where `found_inf` is not 0."""
        found_inf = getattr(self, "found_inf", None)
        if found_inf is None:
            return super().step(closure)
        parameters = [p for group in self.param_groups for p in group["params"] if p.grad is not None]
        means = [self.state[p].get("square_avg", torch.zeros((), device=p.device)) for p in parameters]
        before = [tensor.clone() for tensor in (*parameters, *means)]
        loss = super().step(closure)
        means = [self.state[p]["square_avg"] for p in parameters]
        for tensor, old in zip((*parameters, *means), before, strict=True):
            tensor.copy_(torch.where(found_inf == 0, tensor, old))
        return loss
