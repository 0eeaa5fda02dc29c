"""Real images for an evaluation: a training set, a held-out fold and a test set."""

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from gan_core.data.dataset import Dataset, Rows
from gan_core.errors import UserError
from gan_core.randomness import Streams

_MIN_IMAGES = 60

RealBatch = tuple[Tensor, Tensor | None]
"""Images (B, C, H, W) uint8 and labels (B,) int64, or None where there are none."""


class LabelledRows:
    """Rows with the field `images` and perhaps `labels`, as images and labels."""

    def __init__(self, rows: Rows) -> None:
        self.rows = rows

    @property
    def labels(self) -> Tensor | None:
        """The classes of all images, (N,) int64, or None without labels."""
        return self.rows.labels.get("labels")

    @property
    def fingerprint(self) -> str:
        """A hash that changes when the data does."""
        return self.rows.fingerprint

    def batches(self, indices: list[list[int]]) -> Iterator[RealBatch]:
        """Yields the images at each list of indices, on the device."""
        return ((batch["images"], batch.get("labels")) for batch in self.rows.batches(indices))


class Subset:
    """Some images of one split, in a fixed random order."""

    def __init__(self, data: "RealData", split: str, indices: np.ndarray[tuple[int], np.dtype[np.int64]]) -> None:
        self.data, self.split, self.indices = data, split, indices

    def __len__(self) -> int:
        return len(self.indices)

    def first(self, count: int) -> "Subset":
        """Returns the first `count` images."""
        return Subset(self.data, self.split, self.indices[:count])

    def batches(self, indices: list[list[int]]) -> Iterator[RealBatch]:
        """Yields the images at each list of positions in this subset, on the device."""
        return self.data.read(self.split).batches([self.indices[at].tolist() for at in indices])

    @property
    def labels(self) -> Tensor | None:
        """The classes of the images in this order, (N,) int64 on the CPU, or None without labels."""
        labels = self.data.read(self.split).labels
        return None if labels is None else labels.cpu()[torch.from_numpy(self.indices)]


def fold_size(dataset: Dataset) -> int:
    """Returns the number of images of the held-out fold: as many real images are compared with samples, and no more."""
    count = dataset.splits["train"]["images"]
    return min(dataset.splits["test"]["images"], count // 4) if "test" in dataset.splits else count // 6


class RealData:
    """A data set divided for evaluation. A split is read when its images are first requested.

    Attributes:
        train: The images that classifiers are trained on and that fakes may be copies of.
        held_out: A fold of the training split, as large as the test split but at most a quarter of the training split.
            No classifier is trained on it, and no sample is compared with it.
        test: The test split. If the data set has none, another fold of the training split: train, held_out and test
            then have about 4/6, 1/6 and 1/6 of its images.
        whole: All images of the training split.
    """

    def __init__(self, dataset: Dataset, device: torch.device, train: Rows | None = None) -> None:
        """Divides the table `images` without reading it. If `train` is given, the training split is never read.

        Raises:
            UserError: The training split has fewer than 60 images.
        """
        self.dataset, self.device = dataset, device
        self._read = {} if train is None else {"train": LabelledRows(train)}
        count = dataset.splits["train"]["images"]
        if count < _MIN_IMAGES:
            raise UserError(
                f"dataset: {dataset.spec.name!r} has {count} training images, but evaluation needs at least "
                f"{_MIN_IMAGES}"
            )
        order = Streams(0).at("held-out images", 0).permutation(count)
        self.whole = Subset(self, "train", order)
        fold = fold_size(dataset)
        if "test" in dataset.splits:
            tests = dataset.splits["test"]["images"]
            self.test = Subset(self, "test", Streams(0).at("test images", 0).permutation(tests))
            self.held_out, self.train = Subset(self, "train", order[:fold]), Subset(self, "train", order[fold:])
        else:
            self.test = Subset(self, "train", order[fold : 2 * fold])
            self.held_out, self.train = Subset(self, "train", order[:fold]), Subset(self, "train", order[2 * fold :])

    def read(self, split: str) -> LabelledRows:
        """Returns the images of a split, which is read only once."""
        if split not in self._read:
            self._read[split] = LabelledRows(self.dataset.read("images", split).to(self.device))
        return self._read[split]
