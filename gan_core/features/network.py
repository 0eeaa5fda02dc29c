"""The network of the classifier's and of the untrained feature space: small, and for images of any size."""

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

WIDTH = 128
"""Features."""

_WIDTHS = (32, 64, 64)
_SIDE = 4


class SmallCnn(nn.Module):
    """Convolutions that halve the image until 4 pixels a side are left, at least three; a layer of 128 units; a head.

    On images of 28 x 28: 5 x 5 / 2 - 32, 3 x 3 / 2 - 64, 3 x 3 / 2 - 64, each with batch normalisation and ReLU.
    """

    def __init__(self, channels: int, image_size: int, classes: int) -> None:
        """Takes the images' shape, and the number of classes of the head."""
        super().__init__()
        layers: list[nn.Module] = []
        before, side = channels, image_size
        while side > _SIDE or len(layers) < 3 * len(_WIDTHS):
            at = len(layers) // 3
            width, kernel, stride = _WIDTHS[min(at, 2)], 3 if at else 5, 2 if side > _SIDE else 1
            conv = nn.Conv2d(before, width, kernel, stride, kernel // 2, bias=False)
            layers += [conv, nn.BatchNorm2d(width), nn.ReLU()]
            before, side = width, -(-side // stride)
        self.trunk = nn.Sequential(*layers, nn.Flatten(), nn.Linear(before * side * side, WIDTH), nn.ReLU())
        self.head = nn.Linear(WIDTH, classes)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Maps images (N, C, H, W) in 0 to 255 to features (N, 128) and logits (N, K)."""
        features = self.trunk(images.float().div(127.5).sub(1.0))
        return features, self.head(features)


def jittered(images: Tensor, random: np.random.Generator) -> Tensor:
    """Turns, scales and shifts three of four images (N, C, H, W): up to 10 degrees, a 10th, a 14th of the side."""
    some = images[: -(-len(images) * 3 // 4)].float()
    count = len(some)
    angle, scale = random.uniform(-np.pi / 18, np.pi / 18, count), random.uniform(0.9, 1.1, count)
    right, down = random.uniform(-1 / 7, 1 / 7, (2, count))  # Of half a side, the unit of affine_grid.
    cos, sin = np.cos(angle) / scale, np.sin(angle) / scale
    maps = np.stack([cos, -sin, right, sin, cos, down], axis=1).reshape(count, 2, 3)
    grid = F.affine_grid(torch.from_numpy(maps).to(images.device, torch.float32), list(some.shape), False)
    moved = F.grid_sample(some, grid, padding_mode="border", align_corners=False)
    return torch.cat([moved, images[count:].float()])
