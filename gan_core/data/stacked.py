"""Stacked-MNIST: three digits as the channels of one image, a thousand classes (Metz et al. 2017, Unrolled GANs).

Which digits make which image is a list that is always the same, with every class equally often; images are put together
when they are gathered, so 240,000 of them need no more memory than MNIST. The labels are the classes, 100 times the red
digit plus 10 times the green one plus the blue one: they are the modes that are counted, and conditional variants may
learn them; others ignore them.
"""

import hashlib
from collections.abc import Iterable, Iterator
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from gan_core.data.dataset import Dataset, Images, RealBatch, ResidentImages
from gan_core.errors import UserError
from gan_core.game.data_spec import DataSpec
from gan_core.randomness import Streams

CLASSES = 1000

_COUNTS = {"train": 240_000, "test": 26_000}


def stack(name: str, digits: Dataset, channels: int | None) -> Dataset:
    """Describes the data set of stacked images of another, grey one with ten classes.

    Raises:
        UserError: Other than three channels are asked for.
    """
    if channels not in (None, 3):
        raise UserError(f"channels: {channels} is not allowed for {name!r}, whose images have 3")
    size = digits.spec.image_size
    spec = DataSpec(name=name, image_size=size, channels=3, classes=CLASSES, count=_COUNTS["train"])

    def read(split: str) -> Images:
        images = digits.read(split)
        assert isinstance(images, ResidentImages)
        assert images.labels is not None
        return StackedImages(images, triples(images.labels.cpu(), _COUNTS[split], split))

    return Dataset(spec=spec, splits=_COUNTS, read=read, channel=digits)


def triples(labels: Tensor, count: int, split: str) -> Tensor:
    """Returns which digits each stacked image is made of: (count, 3) int64, image i of class i mod 1,000."""
    random = Streams(0).at(f"stacked digits of {split}", 0).random((count, 3))
    numbers = np.arange(count) % CLASSES
    wanted = np.stack([numbers // 100, numbers // 10 % 10, numbers % 10], axis=1)
    by_class = np.argsort(labels.numpy(), kind="stable")
    sizes = np.bincount(labels.numpy(), minlength=10)
    first = np.cumsum(sizes) - sizes
    return torch.from_numpy(by_class[first[wanted] + (random * sizes[wanted]).astype(np.int64)])


class StackedImages:
    """Stacked images over digits that are resident on the device."""

    def __init__(self, digits: ResidentImages, chosen: Tensor) -> None:
        """Takes digits (M, 1, H, W) uint8 with labels, and for each image its three digits (N, 3)."""
        self.digits, self.chosen = digits, chosen

    @property
    def labels(self) -> Tensor:
        """The classes, 0 to 999: (N,) int64."""
        assert self.digits.labels is not None
        places = torch.tensor([100, 10, 1], device=self.chosen.device)
        return (self.digits.labels[self.chosen] * places).sum(1)

    @cached_property
    def fingerprint(self) -> str:
        """sha256 of the digits and of the list."""
        return hashlib.sha256(self.digits.fingerprint.encode() + self.chosen.cpu().numpy().tobytes()).hexdigest()

    def to(self, device: torch.device) -> "StackedImages":
        """Moves the digits and the list to the device."""
        return StackedImages(self.digits.to(device), self.chosen.to(device))

    def batches(self, indices: Iterable[list[int]]) -> Iterator[RealBatch]:
        """Puts the images at each list of indices together."""
        labels = self.labels
        for chosen in indices:
            at = torch.tensor(chosen).to(self.chosen.device, non_blocking=True)
            yield self.digits.gather(self.chosen[at].flatten()).unflatten(0, (-1, 3)).squeeze(2), labels[at]
