"""Writing a file so that a reader finds the old content or the new one, whole, whatever happens meanwhile.

Each writer has a temporary file of its own, so that two may write the same file at once; the last one to finish wins. A
process that is killed leaves its temporary file behind: `remove_unfinished` removes those of a folder.
"""

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_RANDOM_BYTES = 4


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Gives a temporary path beside `path`; what is written there replaces `path` when the block ends.

    The content is on disk before it gets its name. After an exception, `path` is as it was and nothing else is left.

    Raises:
        OSError: The file cannot be written, such as on a full disk.
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
    """Replaces a file's whole content; text is UTF-8."""
    with replacing(path) as new:
        new.write_bytes(content.encode() if isinstance(content, str) else content)


def remove_unfinished(folder: Path) -> None:
    """Removes what processes that were killed in `replacing` left in this folder. Nobody may be writing to it."""
    for unfinished in folder.glob(f".*.{'[0-9a-f]' * 2 * _RANDOM_BYTES}.new"):
        unfinished.unlink(missing_ok=True)


def sync(path: Path) -> None:
    """Forces a file, or a folder's entries, to disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
