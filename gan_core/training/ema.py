"""The exponential moving average (EMA) of a network's weights, used for sampling."""

from collections.abc import Callable
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

    @torch.no_grad()
    def update(self, images: int, images_seen: int) -> None:
        """Updates the average after a step of `images` images, `images_seen` in total."""
        half_life = self.half_life(images_seen)
        weight = 1.0 - 0.5 ** (images / half_life) if half_life > 0 else 1.0
        averaged = self._averaged()
        torch._foreach_lerp_([copy for copy, _ in averaged], [current for _, current in averaged], weight)
        done = {id(copy) for copy, _ in averaged}
        for copy, current in zip(self.network.buffers(), self.source.buffers(), strict=True):
            if id(copy) not in done:
                copy.copy_(current)

    def _averaged(self) -> list[tuple[Tensor, Tensor]]:
        """Returns pairs (copy, source) of averaged tensors; looked up each time because modules may replace buffers."""
        pairs: list[tuple[Tensor, Tensor]] = list(zip(self.network.parameters(), self.source.parameters(), strict=True))
        for copy, module in zip(self.network.modules(), self.source.modules(), strict=True):
            if isinstance(copy, _BatchNorm) and isinstance(module, _BatchNorm):
                statistics = (copy.running_mean, module.running_mean), (copy.running_var, module.running_var)
                pairs += [(a, b) for a, b in statistics if a is not None and b is not None]
        return pairs
