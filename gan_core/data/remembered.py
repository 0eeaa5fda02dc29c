"""What was found out about files, kept in the cache folder for as long as the files do not change.

The processes of a machine share it: one finds out, while the others wait and then read what it has found.
"""

import hashlib
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import NamedTemporaryFile
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from gan_core.data.cache import cache_folder

try:
    import fcntl
except ImportError:  # On Windows.
    fcntl = None  # type: ignore[assignment]

Arrays = Mapping[str, NDArray[np.generic]]


class Remembered:
    """Arrays under a name. Where the cache folder cannot be used, nothing is remembered, and nothing fails."""

    def __init__(self, kind: str, place: str) -> None:
        """Takes what is remembered and of which place: together they are the name."""
        name = hashlib.sha256(os.fsencode(f"{kind} {place}")).hexdigest()[:32]
        self._file = cache_folder() / "data" / f"{kind}-{name}.npz"

    def load(self) -> Arrays:
        """Returns what is remembered, or nothing."""
        try:
            with np.load(self._file, allow_pickle=False) as stored:
                return {name: stored[name] for name in stored.files}
        except (OSError, ValueError, EOFError, KeyError, BadZipFile):
            return {}

    def save(self, arrays: Arrays) -> None:
        """Replaces what is remembered."""
        with suppress(OSError):
            self._file.parent.mkdir(parents=True, exist_ok=True)
            with NamedTemporaryFile(dir=self._file.parent, suffix=".part", delete=False) as part:
                try:
                    np.savez(part, allow_pickle=False, **arrays)
                    part.close()
                    Path(part.name).replace(self._file)
                finally:
                    Path(part.name).unlink(missing_ok=True)

    def once(self, stamp: tuple[int, int], find: Callable[[], tuple[Arrays, bool]]) -> Arrays:
        """Returns what is remembered of a file, or else finds it out.

        Args:
            stamp: The file's size and time of last change: what is remembered of another one does not count.
            find: Returns the arrays, and whether to remember them.
        """
        with self.alone():
            arrays = self.load()
            if "stamp" in arrays and tuple(arrays["stamp"].tolist()) == stamp:
                return arrays
            arrays, keep = find()
            if keep:
                self.save({**arrays, "stamp": np.array(stamp, dtype=np.int64)})
            return arrays

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Lets one process of this machine at a time run the block."""
        handle = None
        try:
            with suppress(OSError):
                self._file.parent.mkdir(parents=True, exist_ok=True)
                handle = os.open(self._file.with_suffix(".lock"), os.O_RDWR | os.O_CREAT, 0o666)
                if fcntl is not None:
                    fcntl.flock(handle, fcntl.LOCK_EX)
            yield
        finally:
            if handle is not None:
                os.close(handle)
