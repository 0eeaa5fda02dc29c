"""Images as grids and files: a PNG, a folder of PNGs, or the array that common evaluation tools read."""

import shutil
from collections.abc import Iterable
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
    count, channels, _, side = images.shape
    columns = -(-count // rows)
    shown = side * max(1, 64 // side)
    cell = shown + _PADDING
    canvas = Image.new("L" if channels == 1 else "RGB", (columns * cell + _PADDING, rows * cell + _PADDING), "white")
    for number, image in enumerate(images):
        corner = (number // rows * cell + _PADDING, number % rows * cell + _PADDING)
        canvas.paste(picture(image).resize((shown, shown), Image.Resampling.BICUBIC), corner)
    return canvas


def picture(image: Tensor) -> Image.Image:
    """Converts one image (C, H, W) uint8 to a Pillow image."""
    pixels = image.permute(1, 2, 0).numpy()
    return Image.fromarray(pixels.squeeze(2) if pixels.shape[2] == 1 else pixels)


def rows_of(count: int, classes: int) -> int:
    """Returns the number of rows of a grid: one per class for up to `MOST_ROWS` classes, otherwise a square's."""
    return min(classes, count) if 0 < classes <= MOST_ROWS else max(1, round(count**0.5))


def sample_grid(sampler: Sampler) -> Image.Image:
    """Draws a grid of samples: 8 of each class in a row of its own for up to `MOST_ROWS` classes, otherwise 64."""
    classes = sampler.classes
    count = classes * 8 if 0 < classes <= MOST_ROWS else 64
    return grid(sampler.draw_all(count), rows_of(count, classes))


def save_image(image: Image.Image, path: Path) -> None:
    """Writes a PNG atomically."""
    with replacing(path) as new:
        image.save(new, format="PNG")


def save_grid(images: Tensor, classes: int, path: Path) -> None:
    """Writes images (N, C, H, W) uint8 as a PNG grid, atomically."""
    save_image(grid(images, rows_of(len(images), classes)), path)


def save_folder(blocks: Iterable[Tensor], path: Path) -> None:
    """Writes 000000.png, 000001.png, ... to a new folder, which is called NAME.incomplete until all are there."""
    new = path.with_name(f"{path.name}.incomplete")
    if new.exists():
        shutil.rmtree(new)
    new.mkdir(parents=True)
    number = 0
    for block in blocks:
        for image in block:
            picture(image).save(new / f"{number:06d}.png")
            number += 1
    new.rename(path)


def save_npz(blocks: Iterable[Tensor], labels: Tensor | None, path: Path) -> None:
    """Writes arr_0 (N, H, W, C) uint8 and, where there are labels, arr_1 (N,) int64."""
    images = torch.cat(list(blocks)).permute(0, 2, 3, 1).numpy()
    # Given a path, NumPy would add a suffix to it.
    with replacing(path) as new, new.open("wb") as file:
        np.savez(file, images, *([] if labels is None else [labels.numpy().astype(np.int64)]))
