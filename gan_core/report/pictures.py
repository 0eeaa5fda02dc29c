"""Pictures as they stand in a page: data URIs."""

from base64 import b64encode
from io import BytesIO
from pathlib import Path

from PIL import Image

from gan_core.app.load import load_run
from gan_core.errors import UserError
from gan_core.precision import arithmetic
from gan_core.sampling.interpolate import interpolation_grid

_WIDEST = 1000
"""Pixels of a picture of the slider."""
_ROWS, _STEPS = 10, 10


def data_uri(picture: Image.Image) -> str:
    """Returns a picture without loss as a data URI."""
    content = BytesIO()
    picture.save(content, format="PNG")
    return f"data:image/png;base64,{b64encode(content.getvalue()).decode()}"


def shrunk(picture: Image.Image) -> Image.Image:
    """Returns a picture of at most 1,000 pixels a side; smaller ones stay as they are."""
    if max(picture.size) <= _WIDEST:
        return picture
    small = picture.copy()
    small.thumbnail((_WIDEST, _WIDEST))
    return small


def interpolation(root: Path) -> str:
    """Draws a grid of interpolations from a run's newest checkpoint, one class a row, as a data URI.

    Raises:
        UserError: The run has no checkpoint, its plugin is not there, or its samples cannot be interpolated.
    """
    run = load_run(root)
    sampler = run.sampler(0)
    rows = min(sampler.classes or 8, _ROWS)
    try:
        with arithmetic(**run.settings.arithmetic):
            return data_uri(interpolation_grid(sampler, rows, _STEPS))
    except UserError:
        raise
    except Exception as error:  # The code of a plugin can raise anything.
        raise UserError(f"no interpolation could be drawn: {type(error).__name__}: {error}") from error
