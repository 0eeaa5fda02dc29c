"""The order in which training images are shown."""

from collections.abc import Iterator, Sequence

import numpy as np

from gan_core.randomness import Streams


class ImageOrder:
    """The order of training images: an endless sequence in which every epoch is a fresh permutation of the data set."""

    def __init__(self, streams: Streams, count: int) -> None:
        self.streams, self.count = streams, count
        self._epoch = -1
        self._permutation = np.empty(0, dtype=np.int64)

    def __getitem__(self, positions: slice) -> list[int]:
        """Returns the indices of the images at those positions of the sequence."""
        return [self._at(position) for position in range(positions.start, positions.stop)]

    def batches(self, position: int, batch: int, parts: Sequence[slice]) -> Iterator[list[int]]:
        """Yields this process's indices (`parts`) of consecutive global batches, starting at `position`."""
        while True:
            yield [i for part in parts for i in self[position + part.start : position + part.stop]]
            position += batch

    def _at(self, position: int) -> int:
        epoch, place = divmod(position, self.count)
        if epoch != self._epoch:
            self._epoch = epoch
            self._permutation = self.streams.at("image order", epoch).permutation(self.count)
        return int(self._permutation[place])
