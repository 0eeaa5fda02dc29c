"""Stacked-MNIST: three digits as the channels of one image, a thousand classes (Metz et al. 2017, Unrolled GANs).

A fixed list assigns three digits to each image, so that every class is equally frequent. Images are assembled when they
are gathered, so 240,000 of them need no more memory than MNIST. A label is 100 times the red digit plus 10 times the
green digit plus the blue digit. The classes are the modes that an evaluation counts. Conditional variants can be
trained on them; other variants ignore them.
"""

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from gan_core.data.classics import mnist
from gan_core.data.dataset import Dataset, Indices, RealRows, ResidentRows, Rows
from gan_core.data.source import DataRequest, DataSource
from gan_core.errors import UserError
from gan_core.game.data_spec import DataSpec
from gan_core.randomness import Streams
from gan_core.transfer import to_device

CLASSES = 1000

_COUNTS = {"train": 240_000, "test": 26_000}


def open_stacked(request: DataRequest) -> Dataset:
    """Returns the data set of images stacked from MNIST. No image is read yet.

    Raises:
        UserError: The requested number of channels is neither None nor 3.
    """
    if request.channels not in (None, 3):
        raise UserError(f"channels: {request.channels} is not allowed for {request.name!r}. Its images have 3")
    name, digits = request.name, mnist.open(replace(request, name="mnist", channels=None))
    size = digits.spec.image_size
    spec = DataSpec.of_images(name=name, image_size=size, channels=3, classes=CLASSES, count=_COUNTS["train"])

    def read(table: str, split: str) -> Rows:
        rows = digits.read(table, split)
        assert isinstance(rows, ResidentRows)
        return StackedRows(rows, triples(rows.labels["labels"].cpu(), _COUNTS[split], split))

    splits = {split: {"images": count} for split, count in _COUNTS.items()}
    return Dataset(spec=spec, splits=splits, read=read, channel=digits)


def triples(labels: Tensor, count: int, split: str) -> Tensor:
    """Returns the indices of each stacked image's digits: (count, 3) int64. Image i has class i mod 1,000."""
    random = Streams(0).at(f"stacked digits of {split}", 0).random((count, 3))
    numbers = np.arange(count) % CLASSES
    digits = np.stack([numbers // 100, numbers // 10 % 10, numbers % 10], axis=1)
    by_class = np.argsort(labels.numpy(), kind="stable")
    sizes = np.bincount(labels.numpy(), minlength=10)
    first = np.cumsum(sizes) - sizes
    return torch.from_numpy(by_class[first[digits] + (random * sizes[digits]).astype(np.int64)])


class StackedRows:
    """Stacked images and their labels, assembled from digits that are kept on the device."""

    def __init__(self, digits: ResidentRows, chosen: Tensor) -> None:
        """Takes rows of digits (M, 1, H, W) uint8 and labels, and the indices of each image's digits, (N, 3) int64."""
        self.digits, self.chosen = digits, chosen

    @cached_property
    def labels(self) -> Mapping[str, Tensor]:
        """The classes, 0 to 999: (N,) int64."""
        place_values = torch.tensor([100, 10, 1], device=self.chosen.device)
        return {"labels": (self.digits.labels["labels"][self.chosen] * place_values).sum(1)}

    @cached_property
    def fingerprint(self) -> str:
        """sha256 of the digits and their indices."""
        return hashlib.sha256(self.digits.fingerprint.encode() + self.chosen.cpu().numpy().tobytes()).hexdigest()

    def to(self, device: torch.device) -> "StackedRows":
        """Returns the rows with digits and indices on the device."""
        return StackedRows(self.digits.to(device), self.chosen.to(device))

    def batches(self, indices: Iterable[Indices]) -> Iterator[RealRows]:
        """Yields images (B, 3, H, W) uint8 and labels (B,) int64 at each list of indices."""
        for chosen in indices:
            at = to_device(torch.as_tensor(np.asarray(chosen)), self.chosen.device)
            digits = self.digits.gather(self.chosen[at].flatten())["images"]
            yield {"images": digits.unflatten(0, (-1, 3)).squeeze(2), "labels": self.labels["labels"][at]}


stacked_mnist = DataSource(api=1, open=open_stacked)
"""Three digits of MNIST as the channels of one image: 1,000 classes, to count modes."""
