"""Batch normalisation over the global batch, so that one process with 64 images equals two with 32."""

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from gan_core.game.phase import Networks


class _SumOverProcesses(torch.autograd.Function):
    """Sums a tensor over all processes. Its gradient is the sum of their gradients, and can be differentiated again."""

    @staticmethod
    def forward(context: object, tensor: Tensor) -> Tensor:
        """Sums the tensor; saves nothing for backward."""
        del context
        total = tensor.clone()
        torch.distributed.all_reduce(total)
        return total

    @staticmethod
    def backward(context: object, *gradients: Tensor) -> Tensor:
        """Sums the gradients: every process's copy of the sum depends on this process's tensor."""
        del context
        return _sum(gradients[0])


def _sum(tensor: Tensor) -> Tensor:
    total: Tensor = _SumOverProcesses.apply(tensor.contiguous())
    return total


class GlobalBatchNorm(_BatchNorm):
    """nn.BatchNorm (Ioffe & Szegedy 2015, algorithm 1) whose statistics are sums over all processes.

    For CPUs, where nn.SyncBatchNorm does not run. Every process must pass the same number of images. Built from
    differentiable operations, so that a gradient penalty can differentiate it twice.
    """

    def _check_input_dim(self, input: Tensor) -> None:  # noqa: A002
        if input.dim() < 2:
            raise ValueError(f"expected at least 2 dimensions, got {input.dim()}")

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002
        """Normalises (B, C, ...) over all dimensions but C; in eval mode like nn.BatchNorm, without communication."""
        if not self.training:
            local: Tensor = super().forward(input)
            return local
        world = torch.distributed.get_world_size()
        over = [dim for dim in range(input.dim()) if dim != 1]
        shape = [1, -1, *[1] * (input.dim() - 2)]
        count = input.numel() // input.size(1) * world
        # Two passes, because a sum of squares loses precision; in float32, because bf16 has too few digits.
        x = input if input.dtype == torch.float64 else input.float()
        mean = _sum(x.sum(over)) / count
        centred = x - mean.view(shape)
        variance = _sum(centred.square().sum(over)) / count
        self._track(mean, variance * (count / (count - 1)))
        normal = centred * (variance + self.eps).rsqrt().view(shape)
        if self.affine:
            normal = normal * self.weight.view(shape) + self.bias.view(shape)
        return normal.to(input.dtype)

    @torch.no_grad()
    def _track(self, mean: Tensor, unbiased_variance: Tensor) -> None:
        if self.running_mean is None or self.running_var is None:
            return
        assert self.num_batches_tracked is not None
        self.num_batches_tracked.add_(1)
        weight = 1.0 / float(self.num_batches_tracked) if self.momentum is None else self.momentum
        self.running_mean.lerp_(mean.to(self.running_mean), weight)
        self.running_var.lerp_(unbiased_variance.to(self.running_var), weight)


PLAIN = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)
"""The types that `synchronise` changes. Subclasses may compute something else: they stay as they are."""

_KNOWN = (*PLAIN, GlobalBatchNorm, nn.SyncBatchNorm)


def synchronise(networks: Networks, device: torch.device) -> None:
    """Makes batch normalisation in the networks one over the global batch, in place.

    Only the class of a module changes, so hooks and all references to it stay valid.
    """
    for network in networks.values():
        for module in network.modules():
            if type(module) in PLAIN:
                if device.type == "cuda":
                    module.__class__ = nn.SyncBatchNorm
                    module.process_group = None  # type: ignore[assignment]  # All processes.
                else:
                    module.__class__ = GlobalBatchNorm


def not_synchronised(networks: Networks) -> dict[str, list[str]]:
    """Returns the classes of batch normalisation that `synchronise` leaves as they are, by network."""
    found: dict[str, list[str]] = {}
    for name, network in networks.items():
        kinds = {type(module) for module in network.modules() if isinstance(module, _BatchNorm)}
        if own := kinds.difference(_KNOWN):
            found[name] = sorted(kind.__name__ for kind in own)
    return found
