"""Pictures inside larger files, such as zips and tars, read where they lie. Nothing here imports torch."""

import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from gan_core.data.names import Names
from gan_core.data.stored import Stored


@dataclass(kw_only=True)
class StoredMembers(Stored):
    """Members of some files, found by their offsets, so that any of them can be read at any time.

    No file is kept open: a file that is opened for each picture (10 microseconds) needs no care in threads and workers.

    Attributes:
        files: The paths of the files.
        file_of: The number of each member's file, (N,).
        offsets: Where its bytes begin in the file, (N,).
        sizes: How many they are, (N,).
        deflated: Whether they are compressed, as zip's method 8 (RFC 1951), (N,) bool.
        checksums: The CRC-32 of its content; -1 where there is none, (N,).
    """

    place: str
    names: Names
    stamps: NDArray[np.int64]
    files: list[str]
    file_of: NDArray[np.int64]
    offsets: NDArray[np.int64]
    sizes: NDArray[np.int64]
    deflated: NDArray[np.bool_]
    checksums: NDArray[np.int64]

    def read(self, at: int) -> bytes:
        """Returns the content of a member, unpacked.

        Raises:
            OSError: The file cannot be read, or ends too early.
            ValueError: The content is damaged.
        """
        size = int(self.sizes[at])
        with Path(self.files[self.file_of[at]]).open("rb", buffering=0) as file:
            file.seek(int(self.offsets[at]))
            content = file.read(size)
        if len(content) < size:
            raise OSError(f"ends after {len(content)} of {size} bytes: its file is cut off")
        if self.deflated[at]:
            try:
                content = zlib.decompress(content, -zlib.MAX_WBITS)
            except zlib.error as error:
                raise ValueError(f"cannot be unpacked: {error}") from None
        if self.checksums[at] >= 0 and zlib.crc32(content) != self.checksums[at]:
            raise ValueError("its checksum (CRC-32) is wrong")
        return content


def stamp_of(path: Path) -> tuple[int, int]:
    """Returns the size of a file in bytes and the time of its last change in nanoseconds."""
    found = path.stat()
    return found.st_size, found.st_mtime_ns


def is_hidden(name: str) -> bool:
    """Says whether a member is passed over, as hidden files of a folder are, and what macOS adds to zips."""
    return any(part.startswith(".") or part == "__MACOSX" for part in name.split("/"))
