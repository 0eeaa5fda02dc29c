"""A full disk: seen before a checkpoint is begun where that is possible, and named in any case."""

import errno
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from safetensors import SafetensorError

from gan_core.errors import DiskFullError

_MARGIN = 1 << 20
"""Bytes for what comes with the tensors: headers, the manifest, a line of metrics."""


def check_room(folder: Path, size: int) -> None:
    """Checks that so many bytes can be written.

    Raises:
        DiskFullError: They cannot.
    """
    free = shutil.disk_usage(folder).free
    if free < size + _MARGIN:
        raise DiskFullError(
            f"no room for a checkpoint of {_megabytes(size)} in {str(folder)!r}, which has {_megabytes(free)} free. "
            f"Those before it are whole. {_WAY_OUT}"
        )


@contextmanager
def explain_full_disk(folder: Path) -> Iterator[None]:
    """Turns every library's way of saying that nothing more can be written into one message.

    Raises:
        DiskFullError: Something could not be written for lack of room.
    """
    try:
        yield
    except (OSError, SafetensorError) as error:
        full = isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)
        if full or "No space left" in str(error):  # safetensors has only words for it.
            raise DiskFullError(f"the disk of {str(folder)!r} is full ({error}). {_WAY_OUT}") from error
        raise


_WAY_OUT = (
    "Make room, or keep fewer checkpoints (keep_checkpoints, keep_every); the same command goes on from the last one"
)


def _megabytes(size: int) -> str:
    return f"{size / 1e6:,.1f} MB"
