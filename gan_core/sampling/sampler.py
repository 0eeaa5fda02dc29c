"""Samples that depend only on the weights, the seed and the sample's number."""

from collections.abc import Iterator

import torch
from torch import Tensor

from gan_core.errors import UserError
from gan_core.game.batch import place
from gan_core.game.data_spec import DataSpec
from gan_core.game.game import Game
from gan_core.game.phase import Networks
from gan_core.randomness import Streams

BLOCK = 64
"""Images are always generated in blocks of this size, so that no image depends on how many are requested."""


class Sampler:
    """Samples images from a game's averaged networks (EMA)."""

    def __init__(self, game: Game, networks: Networks, seed: int, device: torch.device, dtype: torch.dtype) -> None:
        """Stores the networks that `game.ema` names, in eval mode, with their device and dtype."""
        self.game, self.networks, self.streams = game, networks, Streams(seed)
        self.device, self.dtype = device, dtype

    def labels(self, count: int, label: int | None = None) -> Tensor | None:
        """Returns labels (count,) int64: `label`, or all classes in rotation; None if the game is unconditional."""
        if not self.game.classes:
            return None
        return torch.arange(count) % self.game.classes if label is None else torch.full((count,), label)

    @property
    def classes(self) -> int:
        """The number of classes that can be requested; 0 where the game is unconditional."""
        return self.game.classes

    @torch.no_grad()
    def block(self, number: int, labels: Tensor | None) -> Tensor:
        """Returns samples 64 `number` to 64 `number` + 63 for labels (64,) int64: (64, C, H, W) uint8 on the CPU."""
        inputs = self.game.draw(self.streams.at("samples", number), BLOCK, labels)
        self.streams.seed_modules("modules in samples", number, 0)  # For generators with random layers.
        images = self.game.generate(self.networks, place(inputs, self.device, self.dtype))
        return images.add(1.0).mul(127.5).round().clamp(0, 255).to(torch.uint8).cpu()

    @torch.no_grad()
    def check(self, data: DataSpec) -> None:
        """Draws two samples.

        Raises:
            UserError: They are no images of the data's size and channels.
        """
        labels = self.labels(2)
        inputs = self.game.draw(self.streams.at("samples", 0), 2, labels)
        images = self.game.generate(self.networks, place(inputs, self.device, self.dtype))
        shape = (2, data.channels, data.image_size, data.image_size)
        if not isinstance(images, Tensor) or not images.is_floating_point():
            kind = f"a tensor of {images.dtype}" if isinstance(images, Tensor) else type(images).__name__
            raise UserError(f"`generate` returned {kind}, but must return images: a tensor of floating-point numbers")
        if tuple(images.shape) != shape:
            raise UserError(
                f"`generate` returned the shape {tuple(images.shape)} for 2 images, but must return {shape}"
            )

    def draw(self, count: int, label: int | None = None) -> Iterator[Tensor]:
        """Yields samples 0 to count - 1 in blocks: (up to 64, C, H, W) uint8 on the CPU."""
        for first in range(0, count, BLOCK):
            labels = self.labels(first + BLOCK, label)
            yield self.block(first // BLOCK, None if labels is None else labels[first:])[: count - first]

    def draw_all(self, count: int, label: int | None = None) -> Tensor:
        """Returns samples 0 to count - 1 in one tensor: (count, C, H, W) uint8 on the CPU."""
        return torch.cat(list(self.draw(count, label)))
