"""Atomic writes: a reader finds either the complete old content or the complete new one.

Each writer has its own temporary file, so two processes may write the same file at once; the last to finish wins. A
killed process leaves its temporary file behind; `remove_unfinished` removes those in a folder.
"""

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import chain, count
from pathlib import Path

_RANDOM_BYTES = 4


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yields a temporary path beside `path`; the file written there replaces `path` when the block ends.

    The content is flushed to disk before the rename. After an exception `path` is unchanged and the temporary file is
    removed.

    Raises:
        OSError: The file cannot be written, for example because the disk is full.
    """
    new = path.with_name(f".{path.name}.{secrets.token_hex(_RANDOM_BYTES)}.new")
    try:
        yield new
        sync(new)
        new.replace(path)
    except BaseException:
        new.unlink(missing_ok=True)
        raise


def write_atomically(path: Path, content: str | bytes) -> None:
    """Replaces the content of a file; text is encoded as UTF-8."""
    with replacing(path) as new:
        new.write_bytes(content.encode() if isinstance(content, str) else content)


def remove_unfinished(folder: Path) -> None:
    """Removes temporary files that killed processes left in this folder. No other process may be writing to it."""
    for unfinished in folder.glob(f".*.{'[0-9a-f]' * 2 * _RANDOM_BYTES}.new"):
        unfinished.unlink(missing_ok=True)


def unused(path: Path) -> Path:
    """Returns the path, or the first of PATH-2, PATH-3 and so on at which there is nothing."""
    numbered = (path.with_name(f"{path.name}-{number}") for number in count(2))
    return next(free for free in chain([path], numbered) if not os.path.lexists(free))


def sync(path: Path) -> None:
    """Flushes a file, or a folder's entries, to disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
