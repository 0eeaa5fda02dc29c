"""Many names in little memory: as Python strings, those of a million files would take 100 MB in every process."""

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Names:
    """Names in a fixed order, kept in one buffer. Bytes that are no UTF-8 are kept as Python keeps those of paths.

    Attributes:
        text: All names, one after the other.
        ends: 0, and where each name ends in `text`, (N + 1,).
    """

    text: bytes
    ends: NDArray[np.int64]

    @classmethod
    def of(cls, names: Iterable[str]) -> "Names":
        """Keeps names."""
        encoded = [os.fsencode(name) for name in names]
        return cls(b"".join(encoded), np.cumsum([0, *map(len, encoded)], dtype=np.int64))

    def __len__(self) -> int:
        return len(self.ends) - 1

    def __getitem__(self, at: int) -> str:
        return os.fsdecode(self.text[self.ends[at] : self.ends[at + 1]])

    def __iter__(self) -> Iterator[str]:
        return (self[at] for at in range(len(self)))
