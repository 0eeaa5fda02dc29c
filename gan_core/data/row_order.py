"""The order in which the rows of a table are shown."""

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

from gan_core.randomness import Streams


class RowOrder:
    """The order of a table's rows: an endless sequence in which every epoch is a fresh permutation of the table."""

    def __init__(self, streams: Streams, table: str, count: int) -> None:
        self.streams, self.count = streams, count
        self.stream = "image order" if table == "images" else f"order of {table}"
        self._epoch = -1
        self._permutation: npt.NDArray[np.int64] = np.empty(0, dtype=np.int64)

    def __getitem__(self, positions: slice) -> npt.NDArray[np.int64]:
        """Returns the indices of the rows at those positions of the sequence, int64."""
        parts, start = [], positions.start
        while start < positions.stop:
            epoch, first = divmod(start, self.count)
            count = min(positions.stop - start, self.count - first)
            parts.append(self._epoch_order(epoch)[first : first + count])
            start += count
        return parts[0] if len(parts) == 1 else np.concatenate([self._permutation[:0], *parts])

    def batches(self, position: int, batch: int, parts: Sequence[slice]) -> Iterator[npt.NDArray[np.int64]]:
        """Yields this process's indices (`parts`) of consecutive global batches, starting at `position`."""
        while True:
            chosen = [self[position + part.start : position + part.stop] for part in parts]
            yield chosen[0] if len(chosen) == 1 else np.concatenate(chosen)
            position += batch

    def _epoch_order(self, epoch: int) -> npt.NDArray[np.int64]:
        if epoch != self._epoch:
            self._epoch = epoch
            self._permutation = self.streams.at(self.stream, epoch).permutation(self.count)
        return self._permutation
