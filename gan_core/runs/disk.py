"""A full disk: detected before a checkpoint is written where possible, and otherwise reported clearly."""

import errno
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from safetensors import SafetensorError

from gan_core.errors import DiskFullError

_MARGIN = 1 << 20
"""Bytes for what is written besides tensors: headers, the manifest, a line of metrics."""


def check_space(folder: Path, size: int) -> None:
    """Checks that a checkpoint of `size` bytes fits on the disk of `folder`.

    Raises:
        DiskFullError: There is not enough space.
    """
    free = shutil.disk_usage(folder).free
    if free < size + _MARGIN:
        raise DiskFullError(
            f"not enough space for a checkpoint of {_megabytes(size)} in {str(folder)!r}: {_megabytes(free)} free. "
            f"Earlier checkpoints are intact. {_FIX}"
        )


@contextmanager
def explain_full_disk(folder: Path) -> Iterator[None]:
    """Converts the errors that different libraries raise on a full disk into one.

    Raises:
        DiskFullError: A write failed because the disk is full.
    """
    try:
        yield
    except (OSError, SafetensorError) as error:
        full = isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)
        if full or "No space left" in str(error):  # safetensors has no errno.
            raise DiskFullError(f"the disk of {str(folder)!r} is full ({error}). {_FIX}") from error
        raise


_FIX = (
    "Free some space, or keep fewer checkpoints (keep_checkpoints, keep_every). "
    "The same command resumes from the last checkpoint"
)


def _megabytes(size: int) -> str:
    return f"{size / 1e6:,.1f} MB"
