"""Many names in little memory: as Python strings, those of a million files would take 100 MB in every process."""

import os
from collections.abc import Iterable, Iterator

import numpy as np
from numpy.typing import NDArray


class Names:
    """Names in a fixed order, kept in one buffer. Bytes that are no UTF-8 are kept as Python keeps those of paths."""

    def __init__(self, names: Iterable[str]) -> None:
        encoded = [os.fsencode(name) for name in names]
        self.text = b"".join(encoded)
        self.ends = np.cumsum([0, *map(len, encoded)], dtype=np.int64)

    @classmethod
    def of_buffer(cls, text: bytes, ends: NDArray[np.int64]) -> "Names":
        """Returns the names whose `text` and `ends` were stored."""
        names = cls(())
        names.text, names.ends = text, ends
        return names

    def __len__(self) -> int:
        return len(self.ends) - 1

    def __getitem__(self, at: int) -> str:
        return os.fsdecode(self.text[self.ends[at] : self.ends[at + 1]])

    def __iter__(self) -> Iterator[str]:
        return (self[at] for at in range(len(self)))
