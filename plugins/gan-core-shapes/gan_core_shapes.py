"""Coloured shapes: discs, squares and triangles, drawn when they are read, so that no files are needed."""

import numpy as np
import torch
from torch import Tensor

from gan_core import DataRequest, Dataset, DataSource, DataSpec, ResidentRows, resident

SIZE = 32
CLASSES = ("disc", "square", "triangle")
COUNTS = {"train": 3000, "test": 600}


def draw(count: int, seed: int, size: int = SIZE) -> tuple[Tensor, Tensor]:
    """Draws images of classes 0, 1, 2, 0, … with random places, sizes and colours.

    Args:
        count: Number of images.
        seed: Seed of all random numbers: the same one draws the same images.
        size: Side of the images in pixels.

    Returns:
        Images (count, 3, size, size) uint8, and labels (count,) int64.
    """
    random = np.random.default_rng(seed)
    labels = np.arange(count) % len(CLASSES)
    centre = random.uniform(0.35, 0.65, (2, count, 1, 1)).astype(np.float32)
    radius = random.uniform(0.18, 0.32, (count, 1, 1)).astype(np.float32)
    dark, bright = (random.integers(*range_, (count, 3, 1, 1), np.uint8) for range_ in ((0, 96), (128, 256)))
    y, x = np.mgrid[:size, :size].astype(np.float32)[:, None] / (size - 1) - centre
    inside = np.stack(
        [
            x**2 + y**2 < radius**2,
            np.maximum(abs(x), abs(y)) < 0.9 * radius,
            (y < radius) & (2 * abs(x) < y + radius),
        ]
    )[labels, np.arange(count)]
    images = torch.from_numpy(np.where(inside[:, None], bright, dark))
    return images, torch.from_numpy(labels)


def describe(request: DataRequest) -> Dataset:
    """Describes the data set, in the size and colour that are asked for; nothing is drawn yet."""
    spec = DataSpec.of_images(
        name=request.name,
        image_size=request.image_size or SIZE,
        channels=request.channels or 3,
        classes=len(CLASSES),
        count=COUNTS["train"],
        class_names=CLASSES,
    )

    def read(table: str, split: str) -> ResidentRows:
        images, labels = draw(COUNTS[split], list(COUNTS).index(split), spec.image_size)
        return resident(spec.tables[table].fields, {"images": images, "labels": labels})

    return Dataset(spec=spec, splits={split: {"images": count} for split, count in COUNTS.items()}, read=read)


source = DataSource(api=1, open=describe)
