"""A full disk or a removed folder: detected before a checkpoint is written if possible, otherwise reported clearly."""

import errno
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from safetensors import SafetensorError

from gan_core.errors import DiskFullError, TrainingError

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
        TrainingError: The folder was removed meanwhile, or a file in it cannot be used.
    """
    try:
        yield
    except (OSError, SafetensorError) as error:
        full = isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)
        if full or "No space left" in str(error):  # safetensors has no errno.
            raise DiskFullError(f"the disk of {str(folder)!r} is full ({error}). {_FIX}") from error
        gone = isinstance(error, FileNotFoundError) or "No such file" in str(error)
        if gone and not (folder / "checkpoints").exists():
            raise TrainingError(f"the folder {str(folder)!r} was removed while the run used it ({error})") from error
        if isinstance(error, OSError) and Path(str(error.filename)).is_relative_to(folder):
            raise TrainingError(f"{str(error.filename)!r} cannot be used: {error.strerror}. {_RESUME}") from error
        if isinstance(error, SafetensorError):  # All others are I/O errors too: weights are read elsewhere.
            raise TrainingError(f"a checkpoint in {str(folder)!r} cannot be written: {error}. {_RESUME}") from error
        raise


_RESUME = "The same command resumes from the last checkpoint"
_FIX = f"Free some space, or keep fewer checkpoints (keep_checkpoints, keep_every). {_RESUME}"


def _megabytes(size: int) -> str:
    return f"{size / 1e6:,.1f} MB"
