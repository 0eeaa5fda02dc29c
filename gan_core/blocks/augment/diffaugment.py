"""DiffAugment: random colour, translation and cutout of real and generated images (Zhao et al. 2020, section 3).

The ranges are those of the authors' program, which the paper's appendix A states for images in [-1, 1].
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from gan_core.blocks.augment.rows import RowRandomness

OPERATIONS = ("colour", "translation", "cutout")
"""The operations, in the order in which they are applied."""
SHIFT = 0.125
"""Largest translation, as a part of the image's side."""
CUTOUT = 0.5
"""Side of the cutout, as a part of the image's side."""


def colour(images: Tensor, brightness: Tensor, saturation: Tensor, contrast: Tensor) -> Tensor:
    """Changes the colours of each image: first brightness, then saturation, then contrast.

    Args:
        images: (B, C, H, W).
        brightness: Is added to each pixel, (B,).
        saturation: Factor on the difference of each pixel from its mean over the channels, (B,).
        contrast: Factor on the difference of each pixel from the mean of the image, (B,).
    """
    brightness, saturation, contrast = (value.view(-1, 1, 1, 1) for value in (brightness, saturation, contrast))
    images = images + brightness
    grey = images.mean(1, keepdim=True)
    images = torch.lerp(grey, images, saturation)
    return torch.lerp(images.mean((1, 2, 3), keepdim=True), images, contrast)


def translate(images: Tensor, down: Tensor, right: Tensor) -> Tensor:
    """Moves each image by whole pixels; what comes in from outside is 0.

    Args:
        images: (B, C, H, W).
        down: Pixels that it is moved down, (B,), integers of any dtype; negative ones move it up.
        right: Pixels that it is moved to the right, (B,).
    """
    return _move(_move(images, down, 2), right, 3)


def _move(images: Tensor, by: Tensor, dimension: int) -> Tensor:
    side = images.shape[dimension]
    source = torch.arange(side, device=images.device) - by.long().unsqueeze(1)
    shape = [len(images), 1, 1, 1]
    shape[dimension] = side
    inside = ((source >= 0) & (source < side)).view(shape)
    index = source.clamp(0, side - 1).view(shape).expand_as(images)
    return images.gather(dimension, index) * inside


def cut_out(images: Tensor, top: Tensor, left: Tensor, height: int, width: int) -> Tensor:
    """Sets a rectangle of each image to 0.

    Args:
        images: (B, C, H, W).
        top: The first row of the rectangle, (B,); it may lie outside the image, as may other rows and columns.
        left: The first column of the rectangle, (B,).
        height: Rows of the rectangle.
        width: Columns of the rectangle.
    """
    rows, columns = (
        (torch.arange(side, device=images.device) - first.unsqueeze(1))
        for side, first in ((images.shape[2], top), (images.shape[3], left))
    )
    inside = ((rows >= 0) & (rows < height)).unsqueeze(2) & ((columns >= 0) & (columns < width)).unsqueeze(1)
    return images * ~inside.unsqueeze(1)


class DiffAugment:
    """The augmentation T of Zhao et al. 2020, equations 4 and 5, with parameters drawn for each image."""

    def __init__(self, operations: Sequence[str] = OPERATIONS) -> None:
        """Stores the names of the operations to apply, of `OPERATIONS`."""
        self.operations = frozenset(operations)

    def __call__(self, images: Tensor, random: RowRandomness) -> Tensor:
        """Returns the augmented images (B, C, H, W)."""
        height, width = images.shape[2:]
        if "colour" in self.operations:
            brightness, saturation, contrast = random.uniform(3)
            images = colour(images, brightness - 0.5, 2 * saturation, contrast + 0.5)
        if "translation" in self.operations:
            down, right = random.uniform(2)
            images = translate(images, _shift(down, height), _shift(right, width))
        if "cutout" in self.operations:
            top, left = random.uniform(2)
            rows, columns = (int(side * CUTOUT + 0.5) for side in (height, width))
            images = cut_out(images, _first(top, height, rows), _first(left, width, columns), rows, columns)
        return images


def _shift(uniform: Tensor, side: int) -> Tensor:
    """Returns pixels to move an image of this side by, positive or negative, for U[0, 1)."""
    most = int(side * SHIFT + 0.5)
    return (uniform * (2 * most + 1)).floor() - most


def _first(uniform: Tensor, side: int, size: int) -> Tensor:
    """Returns the first row or column of the cutout, for U[0, 1): its centre is anywhere in the image.

    The centre of an odd size is a pixel; that of an even one is between two, so there is one place more.
    """
    return (uniform * (side + 1 - size % 2)).floor() - size // 2
