"""The interface of what is evaluated: a source of images; and blocks of images of it, and of real images."""

from collections.abc import Iterator
from typing import Protocol

import torch
from torch import Tensor

from gan_core.features.real_data import Subset
from gan_core.sampling.given import BLOCK


class Source(Protocol):
    """An unlimited sequence of images in blocks of 64, such as `gan_core.sampling.sampler.Sampler`.

    A block must contain the same images at every call, on every process.
    """

    @property
    def classes(self) -> int:
        """The number of classes that can be requested; 0 if the source is unconditional."""

    def prepare(self) -> None:
        """Is called on every process before the first block of an evaluation."""

    def targets(self, number: int) -> Tensor | None:
        """Returns the image that each image of a block should equal, (64, C, H, W) uint8; None without targets."""

    def block(self, number: int, labels: Tensor | None) -> Tensor:
        """Returns images 64 `number` to 64 `number` + 63: (64, C, H, W) uint8.

        Labels are (64,) int64, or None for images of any class.
        """


def drawn_blocks(source: Source, labels: Tensor | None, numbers: range) -> Iterator[Tensor]:
    """Yields blocks of the source: sample i has the label at i of `labels` (N,), which are repeated cyclically."""
    for number in numbers:
        positions = torch.arange(number * BLOCK, (number + 1) * BLOCK)
        yield source.block(number, None if labels is None else labels[positions % len(labels)])


def real_blocks(images: Subset, numbers: range) -> Iterator[Tensor]:
    """Yields blocks of real images; after the last image it starts from the first again."""
    positions = [[position % len(images) for position in range(n * BLOCK, (n + 1) * BLOCK)] for n in numbers]
    return (block for block, _ in images.batches(positions))
