"""Samples as a function of the weights, the seed and the sample's number, and of nothing else."""

from collections.abc import Iterator

import torch
from torch import Tensor

from gan_core.game.batch import place
from gan_core.game.game import Game
from gan_core.game.phase import Networks
from gan_core.randomness import Streams

BLOCK = 64
"""Images are drawn in blocks of this size, the last one too: how many are wanted changes no image's bits."""


class Sampler:
    """Draws images from a game's averaged networks."""

    def __init__(self, game: Game, networks: Networks, seed: int, device: torch.device, dtype: torch.dtype) -> None:
        """Stores the networks that `game.ema` names, in eval mode, with their device and dtype."""
        self.game, self.networks, self.streams = game, networks, Streams(seed)
        self.device, self.dtype = device, dtype

    def labels(self, count: int, label: int | None = None) -> Tensor | None:
        """Returns the samples' labels (count,) int64: the given one, or each class in turn; None if unconditional."""
        if not self.game.classes:
            return None
        return torch.arange(count) % self.game.classes if label is None else torch.full((count,), label)

    @property
    def classes(self) -> int:
        """How many labels can be asked for; 0 where the game is unconditional."""
        return self.game.classes

    @torch.no_grad()
    def block(self, number: int, labels: Tensor | None) -> Tensor:
        """Returns samples 64 `number` to 64 `number` + 63: (64, C, H, W) uint8 on the CPU, of labels (64,) int64."""
        inputs = self.game.draw(self.streams.at("samples", number), BLOCK, labels)
        self.streams.seed_modules("modules in samples", number, 0)  # For generators that draw noise.
        images = self.game.generate(self.networks, place(inputs, self.device, self.dtype))
        return images.add(1.0).mul(127.5).round().clamp(0, 255).to(torch.uint8).cpu()

    def draw(self, count: int, label: int | None = None) -> Iterator[Tensor]:
        """Yields samples 0 to count - 1 in blocks: (up to 64, C, H, W) uint8 on the CPU."""
        for first in range(0, count, BLOCK):
            labels = self.labels(first + BLOCK, label)
            yield self.block(first // BLOCK, None if labels is None else labels[first:])[: count - first]

    def draw_all(self, count: int, label: int | None = None) -> Tensor:
        """Returns them at once: (count, C, H, W) uint8."""
        return torch.cat(list(self.draw(count, label)))
