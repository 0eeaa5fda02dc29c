"""The exponential moving average (EMA) of a network's weights, used for sampling."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from copy import deepcopy

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm


class Ema:
    """A moving average of a network, with a half-life in images.

    Images make the half-life independent of the batch size (Karras et al. 2020, Training GANs with Limited Data,
    section 4). Running statistics of batch normalisation are averaged like weights, because they describe activations
    produced by the weights; other buffers are copied.
    """

    def __init__(self, network: nn.Module, half_life: Callable[[int], float]) -> None:
        """Copies the network.

        Args:
            network: The network to average; the copy is in eval mode and needs no gradients.
            half_life: Images after which an old weight counts half, by images seen. 0 copies the network.
        """
        self.source, self.half_life = network, half_life
        self.network = deepcopy(network).eval().requires_grad_(False)
        # Parameters stay the same objects. Modules may replace buffers, so these are looked up in each update.
        self._parameters = list(self.network.parameters()), list(network.parameters())
        self._statistics: list[_Buffer] = []
        self._copied: list[_Buffer] = []
        for copy, module in zip(self.network.modules(), network.modules(), strict=True):
            for name in copy._buffers:
                averaged = isinstance(copy, _BatchNorm) and name in ("running_mean", "running_var")
                (self._statistics if averaged else self._copied).append((copy._buffers, module._buffers, name))

    @torch.no_grad()
    def update(self, images: int, images_seen: int) -> None:
        """Updates the average after a step of `images` images, `images_seen` in total."""
        half_life = self.half_life(images_seen)
        weight = 1.0 - 0.5 ** (images / half_life) if half_life > 0 else 1.0
        averages: list[Tensor] = [*self._parameters[0]]
        sources: list[Tensor] = [*self._parameters[1]]
        for average, current in _pairs(self._statistics):
            averages.append(average)
            sources.append(current)
        torch._foreach_lerp_(averages, sources, weight)
        for copy, current in _pairs(self._copied):
            copy.copy_(current)


_Buffers = Mapping[str, Tensor | None]
_Buffer = tuple[_Buffers, _Buffers, str]
"""The buffers of a module of the average, those of the network's module, and the name of one."""


def _pairs(buffers: Iterable[_Buffer]) -> Iterator[tuple[Tensor, Tensor]]:
    for copies, sources, name in buffers:
        copy, source = copies[name], sources[name]
        if copy is not None and source is not None:
            yield copy, source
