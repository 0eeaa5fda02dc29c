"""Images as grids and files: a PNG, a folder of PNGs, or the array that common evaluation tools read."""

import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from gan_core.runs.atomic import replacing
from gan_core.sampling.sampler import Sampler

MOST_ROWS = 100
"""The largest number of classes for which a grid has one row per class."""

_PADDING = 2


def grid(images: Tensor, rows: int) -> Image.Image:
    """Arranges images (N, C, H, W) uint8 column by column in `rows` rows; enlarges small ones (bicubic)."""
    return arranged([picture(image) for image in images], rows)


def arranged(pictures: Sequence[Image.Image], rows: int) -> Image.Image:
    """Arranges pictures column by column in `rows` rows, in cells of the largest one's size."""
    columns = -(-len(pictures) // rows)
    width, height = (max(sizes) for sizes in zip(*(picture.size for picture in pictures), strict=True))
    factor = max(1, 64 // max(width, height))
    shown = (width * factor, height * factor)
    across, down = (side + _PADDING for side in shown)
    mode = "L" if all(picture.mode == "L" for picture in pictures) else "RGB"
    canvas = Image.new(mode, (columns * across + _PADDING, rows * down + _PADDING), "white")
    for number, picture in enumerate(pictures):
        corner = (number // rows * across + _PADDING, number % rows * down + _PADDING)
        canvas.paste(picture.resize(shown, Image.Resampling.BICUBIC), corner)
    return canvas


def picture(image: Tensor) -> Image.Image:
    """Converts one image (C, H, W) uint8 to a Pillow image."""
    pixels = image.permute(1, 2, 0).numpy()
    return Image.fromarray(pixels.squeeze(2) if pixels.shape[2] == 1 else pixels)


def rows_of(count: int, classes: int) -> int:
    """Returns the number of rows of a grid: one per class for up to `MOST_ROWS` classes, otherwise a square's."""
    return min(classes, count) if 0 < classes <= MOST_ROWS else max(1, round(count**0.5))


def sample_grid(sampler: Sampler) -> Image.Image:
    """Draws a grid of samples: 8 of each class in a row of its own for up to `MOST_ROWS` classes, otherwise 64.

    Of an output with columns, it has 16 samples.
    """
    classes = sampler.classes
    if sampler.output.columns:
        return drawn_grid(sampler, 16)
    return drawn_grid(sampler, classes * 8 if 0 < classes <= MOST_ROWS else 64)


def drawn_grid(sampler: Sampler, count: int, label: int | None = None) -> Image.Image:
    """Draws a grid of `count` samples, each with the columns of its output, of one class or of all in rotation."""
    columns = sampler.output.columns or (sampler.name,)
    plain = columns == (sampler.name,)
    rows = rows_of(count, sampler.classes if label is None else 0) if plain else min(count, 8)
    shown = sampler.shown(count, columns, rows, label)
    cells = [
        picture(shown[name][number])
        for first in range(0, count, rows)
        for name in shown
        for number in range(first, min(first + rows, count))
    ]
    return arranged(cells, rows)


def save_image(image: Image.Image, path: Path) -> None:
    """Writes a PNG atomically."""
    with replacing(path) as new:
        image.save(new, format="PNG")


def save_grid(images: Tensor, classes: int, path: Path) -> None:
    """Writes images (N, C, H, W) uint8 as a PNG grid, atomically."""
    save_image(grid(images, rows_of(len(images), classes)), path)


def save_folder(blocks: Iterable[Tensor], path: Path, names: Sequence[str] = ()) -> None:
    """Writes images to a new folder, which is called NAME.incomplete until all are there.

    Args:
        blocks: Images (B, C, H, W) uint8.
        path: The folder.
        names: The files' names, by which Pillow knows their format; without them 000000.png, 000001.png, ...
    """
    new = path.with_name(f"{path.name}.incomplete")
    if new.exists():
        shutil.rmtree(new)
    new.mkdir(parents=True)
    for number, image in enumerate(image for block in blocks for image in block):
        name = names[number % len(names)] if names else f"{number:06d}.png"
        picture(image).save(new / name, quality=95)
    new.rename(path)


def save_npz(blocks: Iterable[Tensor], labels: Tensor | None, path: Path) -> None:
    """Writes arr_0 (N, H, W, C) uint8 and, where there are labels, arr_1 (N,) int64."""
    images = torch.cat(list(blocks)).permute(0, 2, 3, 1).numpy()
    # Given a path, NumPy would add a suffix to it.
    with replacing(path) as new, new.open("wb") as file:
        np.savez(file, images, *([] if labels is None else [labels.numpy().astype(np.int64)]))
