"""Pictures in the Arrow files of Hugging Face's library `datasets`. Nothing here imports torch."""

from bisect import bisect_right
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gan_core.data.members import stamp_of
from gan_core.data.names import Names
from gan_core.data.stored import Stored


@dataclass(kw_only=True)
class StoredArrow(Stored):
    """The images of a column of Arrow files: their encoded bytes, or the paths of their files.

    Attributes:
        files: The paths of the files.
        ends: How many rows a file and all before it have.
        column: The column.
    """

    place: str
    names: Names
    stamps: NDArray[np.int64]
    files: list[str]
    ends: list[int]
    column: str
    _open: dict[int, Any] = field(default_factory=dict, init=False, repr=False)

    @classmethod
    def of(cls, place: str, names: Names, files: list[tuple[str, int]], column: str) -> "StoredArrow":
        """Takes the files, each with its number of rows."""
        counts = [count for _, count in files]
        stamps = np.array([stamp_of(Path(path)) for path, _ in files], dtype=np.int64).reshape(-1, 2)
        return cls(
            place=place,
            names=names,
            stamps=stamps[np.repeat(np.arange(len(files)), counts)],
            files=[path for path, _ in files],
            ends=np.cumsum(counts).tolist(),
            column=column,
        )

    def read(self, at: int) -> bytes:
        """Returns the bytes of a row's image. Raises ValueError if it has none."""
        number = bisect_right(self.ends, at)
        if number not in self._open:
            self._open[number] = arrow_table(self.files[number]).column(self.column)
        found = self._open[number][at - (self.ends[number - 1] if number else 0)].as_py()
        content, path = (found.get("bytes"), found.get("path")) if isinstance(found, dict) else (found, None)
        if content is None and path is not None:
            content = Path(path).read_bytes()
        if not isinstance(content, bytes):
            raise ValueError("has no image")  # noqa: TRY004 (the file is wrong, not the program)
        return content


def arrow_table(path: str) -> Any:
    """Opens an Arrow file of the library's, mapped into memory."""
    import pyarrow as pa

    return pa.ipc.open_stream(pa.memory_map(path)).read_all()
