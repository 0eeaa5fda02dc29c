"""The order in which the rows of a table are shown."""

from collections.abc import Iterator, Sequence

import numpy as np

from gan_core.randomness import Streams


class RowOrder:
    """The order of a table's rows: an endless sequence in which every epoch is a fresh permutation of the table."""

    def __init__(self, streams: Streams, table: str, count: int) -> None:
        self.streams, self.count = streams, count
        self.stream = "image order" if table == "images" else f"order of {table}"
        self._epoch = -1
        self._permutation = np.empty(0, dtype=np.int64)

    def __getitem__(self, positions: slice) -> list[int]:
        """Returns the indices of the rows at those positions of the sequence."""
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
            self._permutation = self.streams.at(self.stream, epoch).permutation(self.count)
        return int(self._permutation[place])
