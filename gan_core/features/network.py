"""The small network of the classifier and untrained feature spaces, for images of any size."""

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gan_core.game.data_spec import ImageField

WIDTH = 128
"""The number of features."""

_WIDTHS = (32, 64, 64)
_FINAL_SIDE = 4


class SmallCnn(nn.Module):
    """At least three convolutions, a linear layer of 128 units, and a linear head.

    The convolutions have stride 2 until the image is at most 4 x 4, then stride 1.
    For 28 x 28 images: 5 x 5 / 2 - 32, 3 x 3 / 2 - 64, 3 x 3 / 2 - 64, each with batch normalisation and ReLU.
    """

    def __init__(self, image: ImageField, classes: int) -> None:
        """Takes the shape of the images and the number of classes."""
        super().__init__()
        layers: list[nn.Module] = []
        before, height, width = image.shape
        while max(height, width) > _FINAL_SIDE or len(layers) < 3 * len(_WIDTHS):
            at = len(layers) // 3
            maps, kernel, stride = _WIDTHS[min(at, 2)], 3 if at else 5, 2 if max(height, width) > _FINAL_SIDE else 1
            conv = nn.Conv2d(before, maps, kernel, stride, kernel // 2, bias=False)
            layers += [conv, nn.BatchNorm2d(maps), nn.ReLU()]
            before, height, width = maps, -(-height // stride), -(-width // stride)
        self.trunk = nn.Sequential(*layers, nn.Flatten(), nn.Linear(before * height * width, WIDTH), nn.ReLU())
        self.head = nn.Linear(WIDTH, classes)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Maps images (N, C, H, W) with values from 0 to 255 to features (N, 128) and logits (N, K)."""
        features = self.trunk(images.float().div(127.5).sub(1.0))
        return features, self.head(features)


def jitter(images: Tensor, random: np.random.Generator) -> Tensor:
    """Randomly rotates, scales and shifts the first 3/4 of images (N, C, H, W); returns float32, the rest unchanged.

    By up to 10 degrees, 1/10 of the size and 1/14 of the side.
    """
    some = images[: -(-len(images) * 3 // 4)].float()
    count = len(some)
    angle, scale = random.uniform(-np.pi / 18, np.pi / 18, count), random.uniform(0.9, 1.1, count)
    right, down = random.uniform(-1 / 7, 1 / 7, (2, count))  # In half sides, the unit of affine_grid.
    cos, sin = np.cos(angle) / scale, np.sin(angle) / scale
    maps = np.stack([cos, -sin, right, sin, cos, down], axis=1).reshape(count, 2, 3)
    grid = F.affine_grid(torch.from_numpy(maps).to(images.device, torch.float32), list(some.shape), False)
    moved = F.grid_sample(some, grid, padding_mode="border", align_corners=False)
    return torch.cat([moved, images[count:].float()])
