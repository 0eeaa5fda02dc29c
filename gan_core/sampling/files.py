"""Images as grids and files: a PNG, a folder of PNGs, or the array that common evaluation tools read."""

import shutil
from collections.abc import Iterable, Sequence
from math import ceil
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont, ImageOps
from PIL.PngImagePlugin import PngInfo
from torch import Tensor

from gan_core.console import printable
from gan_core.runs.atomic import replacing
from gan_core.sampling.sampler import Sampler

MOST_ROWS = 100
"""The largest number of classes for which a grid has one row per class."""

_PADDING = 2
_FONT, _LONGEST_NAME = 14, 24
"""Height of the letters of a class's name in pixels, and how many of them are shown."""


def grid(images: Tensor, rows: int) -> Image.Image:
    """Arranges images (N, C, H, W) uint8 column by column in `rows` rows; enlarges small ones."""
    return arranged([picture(image) for image in images], rows)


def arranged(pictures: Sequence[Image.Image | None], rows: int, names: Sequence[str] = ()) -> Image.Image:
    """Arranges pictures column by column in `rows` rows, in cells of the largest one's size; smaller ones are enlarged.

    Small pictures are enlarged by a whole number of times, without blur: each pixel is a square.

    Args:
        pictures: The pictures; None leaves a cell empty.
        rows: Number of rows.
        names: Names of the rows, which are drawn on their left.
    """
    columns, there = -(-len(pictures) // rows), [picture for picture in pictures if picture is not None]
    width, height = (max(sizes) for sizes in zip(*(picture.size for picture in there), strict=True))
    factor = max(1, 64 // max(width, height))
    shown = (width * factor, height * factor)
    across, down = (side + _PADDING for side in shown)
    mode = "L" if all(picture.mode == "L" for picture in there) else "RGB"
    # Pillow's font has the characters of Latin 1.
    names = [printable(name)[:_LONGEST_NAME].encode("latin-1", "replace").decode("latin-1") for name in names]
    font = ImageFont.load_default(_FONT)
    left = ceil(max((font.getlength(name) + 2 * _PADDING for name in names), default=0))
    canvas = Image.new(mode, (left + columns * across + _PADDING, rows * down + _PADDING), "white")
    for row, name in enumerate(names):
        middle = row * down + _PADDING + shown[1] // 2
        ImageDraw.Draw(canvas).text((_PADDING, middle), name, fill="black", font=font, anchor="lm")
    for number, picture in enumerate(pictures):
        if picture is not None:
            whole = all(cell % side == 0 for cell, side in zip(shown, picture.size, strict=True))
            fitted = ImageOps.contain(picture, shown, Image.Resampling.NEAREST if whole else Image.Resampling.BICUBIC)
            x, y = ((cell - side) // 2 + _PADDING for cell, side in zip(shown, fitted.size, strict=True))
            canvas.paste(fitted, (left + number // rows * across + x, number % rows * down + y))
    return canvas


def picture(image: Tensor) -> Image.Image:
    """Converts one image (C, H, W) uint8 to a Pillow image."""
    pixels = image.permute(1, 2, 0).numpy()
    return Image.fromarray(pixels.squeeze(2) if pixels.shape[2] == 1 else pixels)


def rows_of(count: int, classes: int) -> int:
    """Returns the number of rows of a grid: one per class for up to `MOST_ROWS` classes, otherwise a square's."""
    return min(classes, count) if 0 < classes <= MOST_ROWS else max(1, round(count**0.5))


def sample_grid(sampler: Sampler) -> Image.Image:
    """Draws a grid of samples: 8 in each of the output's rows, which by default are the classes, otherwise 64.

    Of an output with columns, it has 16 samples. There are at most `MOST_ROWS` rows.
    """
    rows = sampler.output.rows or sampler.classes
    if sampler.output.columns:
        return drawn_grid(sampler, 16)
    return drawn_grid(sampler, rows * 8 if 0 < rows <= MOST_ROWS else 64)


def drawn_grid(sampler: Sampler, count: int, label: int | None = None) -> Image.Image:
    """Draws a grid of `count` samples, each with the columns of its output, of one class or of all in rotation."""
    columns = sampler.output.columns or (sampler.name,)
    plain = columns == (sampler.name,)
    classes = sampler.classes if plain and label is None else 0
    rows = rows_of(count, sampler.output.rows or classes) if plain else min(count, 8)
    shown = sampler.shown(count, columns, rows, label)
    cells = [
        picture(shown[name][number]) if number < count else None
        for first in range(0, count, rows)
        for name in shown
        for number in range(first, first + rows)
    ]
    named = 0 < classes <= MOST_ROWS and not sampler.output.rows
    return arranged(cells, rows, class_names(sampler)[:rows] if named else ())


def class_names(sampler: Sampler) -> tuple[str, ...]:
    """Returns the names of the classes that can be requested; none where they are only numbers."""
    names = sampler.data.class_names if sampler.classes else ()
    return () if names == tuple(map(str, range(len(names)))) else names


def save_image(image: Image.Image, path: Path, about: str = "") -> None:
    """Writes a PNG atomically, with `about` as its text "sampling" if it is not empty."""
    with replacing(path) as new:
        image.save(new, format="PNG", pnginfo=_png_text(about))


def save_grid(images: Tensor, classes: int, path: Path) -> None:
    """Writes images (N, C, H, W) uint8 as a PNG grid, atomically."""
    save_image(grid(images, rows_of(len(images), classes)), path)


def save_folder(blocks: Iterable[Tensor], path: Path, names: Sequence[str] = (), about: str = "") -> None:
    """Writes images to a new folder, which is called NAME.incomplete until all are there.

    Args:
        blocks: Images (B, C, H, W) uint8.
        path: The folder.
        names: The files' names, which say their format; ".png" is added to those of formats that Pillow only reads.
            Without names 000000.png, 000001.png, ...
        about: The text "sampling" of each PNG, if it is not empty.
    """
    new = path.with_name(f"{path.name}.incomplete")
    if new.exists():
        shutil.rmtree(new)
    new.mkdir(parents=True)
    written = {suffix for suffix, kind in Image.registered_extensions().items() if kind in Image.SAVE}
    for number, image in enumerate(image for block in blocks for image in block):
        name = names[number] if names else f"{number:06d}.png"
        name += "" if Path(name).suffix.lower() in written else ".png"
        picture(image).save(new / name, quality=95, pnginfo=_png_text(about))
    new.rename(path)


def _png_text(about: str) -> PngInfo | None:
    if not about:
        return None
    text = PngInfo()
    text.add_text("sampling", about)
    return text


def save_npz(
    blocks: Iterable[Tensor], labels: Tensor | None, path: Path, names: Sequence[str] = (), about: str = ""
) -> None:
    """Writes the arrays of samples to a file; each of them only if there is something in it, except the first.

    Args:
        blocks: arr_0, the images: (N, H, W, C) uint8 in the file.
        labels: arr_1, (N,) int64.
        path: The file.
        names: class_names, the names of the classes.
        about: sampling, a text.
    """
    images = torch.cat(list(blocks)).permute(0, 2, 3, 1).numpy()
    numbers = None if labels is None else labels.numpy().astype(np.int64)
    arrays: dict[str, Any] = {"arr_0": images, "arr_1": numbers, "class_names": list(names) or None}
    arrays["sampling"] = about or None
    # Given a path, NumPy would add a suffix to it.
    with replacing(path) as new, new.open("wb") as file:
        np.savez(file, **{name: value for name, value in arrays.items() if value is not None})
