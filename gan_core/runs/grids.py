"""The grids of samples that a run has written, read as what they are: files that anything may have changed."""

import warnings
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

from PIL import Image

from gan_core.documents import read_regular

_MOST = 64_000_000
"""Bytes of the largest grid that is read."""


def grid_files(samples: Path) -> list[tuple[int, Path]]:
    """Returns the grids in a folder by images seen, in order; none if there is no such folder."""
    if not samples.is_dir():
        return []
    found = [(int(path.stem), path) for path in samples.iterdir() if path.suffix == ".png" and path.stem.isdecimal()]
    return sorted(found)


def read_picture(path: Path, skipped: Callable[[str], None]) -> Image.Image | None:
    """Returns a PNG picture, grey or RGB; None after calling `skipped` with the reason if it cannot be read."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(BytesIO(read_regular(path, _MOST)), formats=("PNG",)) as image:
                return image.convert("L" if image.mode in ("1", "L") else "RGB")
    except Exception as error:  # Of bytes that it has not written, Pillow's reader raises anything.
        skipped(f"{path} cannot be read: {error}")
        return None
