"""Real images as an evaluation uses them: some to learn from, some held out of those, and some for the test."""

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from gan_core.data.dataset import Dataset, Images, RealBatch
from gan_core.errors import UserError
from gan_core.randomness import Streams

_LEAST = 60


class Part:
    """Some images of one split, in an order of chance that is always the same."""

    def __init__(self, data: "RealData", split: str, chosen: np.ndarray[tuple[int], np.dtype[np.int64]]) -> None:
        self.data, self.split, self.chosen = data, split, chosen

    def __len__(self) -> int:
        return len(self.chosen)

    def first(self, count: int) -> "Part":
        """Returns the first so many of them."""
        return Part(self.data, self.split, self.chosen[:count])

    def batches(self, indices: list[list[int]]) -> Iterator[RealBatch]:
        """Yields the images at each list of places in that order, on the device."""
        return self.data.read(self.split).batches([self.chosen[at].tolist() for at in indices])

    @property
    def labels(self) -> Tensor | None:
        """The classes of all of them in that order, (N,) int64 on the CPU, or None."""
        labels = self.data.read(self.split).labels
        return None if labels is None else labels.cpu()[torch.from_numpy(self.chosen)]


class RealData:
    """A data set divided for evaluation; it is read when images are first asked for.

    Attributes:
        train: What a classifier learns from, and what fakes could be copies of.
        held_out: A fold of the training split, as large as the test split but at most a quarter: real images that no
            classifier has learnt from and that nothing is compared with.
        test: The test split; of a data set without one, another fold, as large.
    """

    def __init__(self, dataset: Dataset, device: torch.device, train: Images | None = None) -> None:
        """Divides the data set; nothing is read yet, and the training split never where it is given.

        Raises:
            UserError: It has too few images.
        """
        self.dataset, self.device = dataset, device
        self._read: dict[str, Images] = {} if train is None else {"train": train}
        count = dataset.splits["train"]
        if count < _LEAST:
            raise UserError(
                f"dataset: {dataset.spec.name!r} has {count} images, too few to be divided for an evaluation: "
                f"it needs {_LEAST}"
            )
        order = Streams(0).at("held-out images", 0).permutation(count)
        if "test" in dataset.splits:
            fold = min(dataset.splits["test"], count // 4)
            self.test = Part(self, "test", Streams(0).at("test images", 0).permutation(dataset.splits["test"]))
            self.held_out, self.train = Part(self, "train", order[:fold]), Part(self, "train", order[fold:])
        else:
            fold = count // 6
            self.test = Part(self, "train", order[fold : 2 * fold])
            self.held_out, self.train = Part(self, "train", order[:fold]), Part(self, "train", order[2 * fold :])

    def read(self, split: str) -> Images:
        """Returns the images of a split, read once."""
        if split not in self._read:
            self._read[split] = self.dataset.read(split).to(self.device)
        return self._read[split]
