"""Batch normalisation over the global batch, so that one process with 64 images equals two with 32."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from gan_core.distributed.collectives import gather, sum_over_processes
from gan_core.game.phase import Networks


class _Normalise(torch.autograd.Function):
    """Normalises a tensor by its mean and variance over all processes: one collective forward, one backward."""

    @staticmethod
    def forward(
        context: Any, x: Tensor, weight: Tensor | None, bias: Tensor | None, eps: float
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Returns the result, and the mean (C,), the biased variance (C,) and the count () of the global batch.

        Mean and variance are outputs because backward depends on them: so it can be differentiated by them.
        """
        own_count = x.numel() // x.size(1)
        own_mean, own_variance = _own_statistics(x)
        mean, variance, count = _combine_parts(own_count, own_mean, own_variance * own_count)
        context.save_for_backward(x, weight, mean, variance, count)
        context.mark_non_differentiable(count)
        context.eps = eps
        return _affine(x, mean, variance, weight, bias, eps), mean, variance, count

    @staticmethod
    def backward(context: Any, *gradients: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None, None]:
        """Adds up what reaches x directly, by the mean, and by the variance, to which all processes contribute."""
        by_result, by_mean, by_variance, _ = gradients
        x, weight, mean, variance, count = context.saved_tensors
        inverse = (variance + context.eps).rsqrt()
        scale = inverse if weight is None else inverse * weight
        by_bias, products = _sums(by_result, x, mean)
        by_x = None
        if context.needs_input_grad[0]:
            total = sum_over_processes(
                torch.stack([by_mean - scale * by_bias, by_variance - 0.5 * scale * inverse.square() * products])
            )
            offset, slope = total[0] / count, total[1] * (2.0 / count)
            by_x = _combine(by_result, x, mean, scale, slope, offset)
        by_weight = products * inverse if context.needs_input_grad[1] else None
        return by_x, by_weight, by_bias if context.needs_input_grad[2] else None, None


def _own_statistics(x: Tensor) -> tuple[Tensor, Tensor]:
    """Returns the mean (C,) and the biased variance (C,) of this process's values, zeros if it has none."""
    if not x.numel():
        return x.new_zeros(x.size(1)), x.new_zeros(x.size(1))
    if x.device.type == "cpu":  # A few times as fast there, with sums in float64.
        return torch.batch_norm_update_stats(x, None, None, 0.0)
    variance, mean = torch.var_mean(x, _all_but_channels(x), correction=0)
    return mean, variance


def _combine_parts(own_count: int, own_mean: Tensor, own_squares: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Returns the mean (C,), the biased variance (C,) and the count () over all processes.

    A sum of squares loses precision if the mean is large. So each process sums squares of distances from its own mean,
    and these are combined exactly (Chan et al. 1979, equation 2.1). Processes may have different counts, also 0.

    Args:
        own_count: The number of this process's values per channel.
        own_mean: Their mean (C,).
        own_squares: The sum of their squared distances from it (C,).
    """
    own = torch.cat([own_mean.new_full((1,), own_count), own_mean, own_squares])
    counts, means, squares = gather(own).split([1, len(own_mean), len(own_mean)], dim=1)
    count = counts.sum()
    mean = means[0] + (counts * (means - means[0])).sum(0) / count
    return mean, (squares + counts * (means - mean).square()).sum(0) / count, count


def _affine(
    x: Tensor, mean: Tensor, variance: Tensor, weight: Tensor | None, bias: Tensor | None, eps: float
) -> Tensor:
    """Returns (x - mean) / (variance + eps)^½ * weight + bias in one pass. Precise if the mean is not large."""
    return torch.batch_norm(x, weight, bias, mean, variance, False, 0.0, eps, False)


def _sums(gradient: Tensor, x: Tensor, mean: Tensor) -> tuple[Tensor, Tensor]:
    """Returns the sums over all but the channels of gradient and gradient * (x - mean), both (C,)."""
    if torch.is_grad_enabled() or not x.numel():  # Somebody will differentiate it, or torch's function fails.
        over = _all_but_channels(x)
        return gradient.sum(over), ((x - _over_channels(mean, x)) * gradient).sum(over)
    # The gradients of bias and weight where the inverse deviation is 1, in one pass.
    _, products, sums = torch.ops.aten.native_batch_norm_backward(
        gradient, x, None, None, None, mean, torch.ones_like(mean), True, 0.0, [False, True, True]
    )
    return sums, products


def _combine(gradient: Tensor, x: Tensor, mean: Tensor, scale: Tensor, slope: Tensor, offset: Tensor) -> Tensor:
    """Returns gradient * scale + (x - mean) * slope + offset."""
    if torch.is_grad_enabled():  # Somebody will differentiate it.
        scale, slope, offset, mean = (_over_channels(each, x) for each in (scale, slope, offset, mean))
        return gradient * scale + (x - mean) * slope + offset
    linear = _affine(x, mean, torch.ones_like(mean), slope, offset, 0.0)
    return linear.addcmul_(gradient, _over_channels(scale, x))


def _all_but_channels(x: Tensor) -> list[int]:
    return [dim for dim in range(x.dim()) if dim != 1]


def _over_channels(values: Tensor, x: Tensor) -> Tensor:
    """Returns one value per channel (C,) in a shape that broadcasts over x."""
    return values.view(1, -1, *[1] * (x.dim() - 2))


class GlobalBatchNorm(_BatchNorm):
    """nn.BatchNorm (Ioffe & Szegedy 2015, algorithm 1) whose statistics are those of all processes' images.

    In place of nn.SyncBatchNorm, which needs a GPU, waits for it in each layer, and cannot be differentiated twice, as
    a gradient penalty must. The processes may pass different numbers of images.
    """

    def _check_input_dim(self, input: Tensor) -> None:  # noqa: A002
        if input.dim() < 2:
            raise ValueError(f"expected at least 2 dimensions, got {input.dim()}")

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002
        """Normalises (B, C, ...) over all dimensions but C; in eval mode like nn.BatchNorm, without communication.

        Raises:
            ValueError: The input has fewer than two dimensions, or there is one value per channel in all.
        """
        if not self.training:
            local: Tensor = super().forward(input)
            return local
        self._check_input_dim(input)
        if input.numel() == input.size(1) and torch.distributed.get_world_size() == 1:
            raise ValueError(f"Expected more than 1 value per channel when training, got input size {input.size()}")
        x = input if input.dtype == torch.float64 else input.float()  # bf16 and fp16 have too few digits for sums.
        normal, mean, variance, count = _Normalise.apply(x, self.weight, self.bias, self.eps)
        self._track(mean, variance * (count / (count - 1)))
        result: Tensor = normal.to(input.dtype)
        return result

    @torch.no_grad()
    def _track(self, mean: Tensor, unbiased_variance: Tensor) -> None:
        if self.running_mean is None or self.running_var is None:
            return
        assert self.num_batches_tracked is not None
        self.num_batches_tracked.add_(1)
        # A tensor, because a number would have to be waited for on a GPU.
        weight = self.num_batches_tracked.to(mean).reciprocal() if self.momentum is None else self.momentum
        self.running_mean.lerp_(mean, weight)
        self.running_var.lerp_(unbiased_variance, weight)


PLAIN = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)
"""The types that `synchronise` changes. Subclasses may compute something else: they stay as they are."""


def synchronise(networks: Networks) -> None:
    """Makes batch normalisation in the networks one over the global batch, in place.

    Only the class of a module changes, so hooks and all references to it stay valid.
    """
    for network in networks.values():
        for module in network.modules():
            if type(module) in PLAIN:
                module.__class__ = GlobalBatchNorm


def not_synchronised(networks: Networks) -> dict[str, list[str]]:
    """Returns the classes of batch normalisation that `synchronise` leaves as they are, by network."""
    found: dict[str, list[str]] = {}
    for name, network in networks.items():
        kinds = {type(module) for module in network.modules() if isinstance(module, _BatchNorm)}
        if own := kinds.difference((*PLAIN, GlobalBatchNorm)):
            found[name] = sorted(kind.__name__ for kind in own)
    return found
