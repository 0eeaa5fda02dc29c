"""Stacked-MNIST: three digits as the channels of one image, a thousand classes (Metz et al. 2017, Unrolled GANs).

A fixed list assigns three digits to each image, so that every class is equally frequent. Images are assembled when they
are gathered, so 240,000 of them need no more memory than MNIST. A label is 100 times the red digit plus 10 times the
green digit plus the blue digit. The classes are the modes that an evaluation counts. Conditional variants can be
trained on them; other variants ignore them.
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
from gan_core.transfer import to_device

CLASSES = 1000

_COUNTS = {"train": 240_000, "test": 26_000}


def stack(name: str, digits: Dataset, channels: int | None) -> Dataset:
    """Returns the data set of images stacked from a grey data set with ten classes. No image is read yet.

    Args:
        name: The name of the stacked data set.
        digits: The grey data set.
        channels: The requested number of channels; None or 3.

    Raises:
        UserError: `channels` is neither None nor 3.
    """
    if channels not in (None, 3):
        raise UserError(f"channels: {channels} is not allowed for {name!r}. Its images have 3")
    size = digits.spec.image_size
    spec = DataSpec(name=name, image_size=size, channels=3, classes=CLASSES, count=_COUNTS["train"])

    def read(split: str) -> Images:
        images = digits.read(split)
        assert isinstance(images, ResidentImages)
        assert images.labels is not None
        return StackedImages(images, triples(images.labels.cpu(), _COUNTS[split], split))

    return Dataset(spec=spec, splits=_COUNTS, read=read, channel=digits)


def triples(labels: Tensor, count: int, split: str) -> Tensor:
    """Returns the indices of each stacked image's digits: (count, 3) int64. Image i has class i mod 1,000."""
    random = Streams(0).at(f"stacked digits of {split}", 0).random((count, 3))
    numbers = np.arange(count) % CLASSES
    digits = np.stack([numbers // 100, numbers // 10 % 10, numbers % 10], axis=1)
    by_class = np.argsort(labels.numpy(), kind="stable")
    sizes = np.bincount(labels.numpy(), minlength=10)
    first = np.cumsum(sizes) - sizes
    return torch.from_numpy(by_class[first[digits] + (random * sizes[digits]).astype(np.int64)])


class StackedImages:
    """Stacked images, assembled from digits that are kept on the device."""

    def __init__(self, digits: ResidentImages, chosen: Tensor) -> None:
        """Takes digits (M, 1, H, W) uint8 with labels, and the indices of each image's digits, (N, 3) int64."""
        self.digits, self.chosen = digits, chosen

    @property
    def labels(self) -> Tensor:
        """The classes, 0 to 999: (N,) int64."""
        assert self.digits.labels is not None
        place_values = torch.tensor([100, 10, 1], device=self.chosen.device)
        return (self.digits.labels[self.chosen] * place_values).sum(1)

    @cached_property
    def fingerprint(self) -> str:
        """sha256 of the digits and their indices."""
        return hashlib.sha256(self.digits.fingerprint.encode() + self.chosen.cpu().numpy().tobytes()).hexdigest()

    def to(self, device: torch.device) -> "StackedImages":
        """Returns the images with digits and indices on the device."""
        return StackedImages(self.digits.to(device), self.chosen.to(device))

    def batches(self, indices: Iterable[list[int]]) -> Iterator[RealBatch]:
        """Yields the images (B, 3, H, W) uint8 and labels (B,) int64 at each list of indices."""
        labels = self.labels
        for chosen in indices:
            at = to_device(torch.tensor(chosen), self.chosen.device)
            yield self.digits.gather(self.chosen[at].flatten()).unflatten(0, (-1, 3)).squeeze(2), labels[at]
