"""Affine transformations of images between a low-pass filter and its adjoint (Karras et al. 2020, ADA, appendix B.2).

Images are upsampled to twice their side, sampled bilinearly at the transformed positions, filtered and downsampled,
which keeps frequencies from folding over. All of it is linear in the pixels, and has gradients of every order: torch's
`grid_sample` has no second one.
"""

import numpy as np
import torch
from torch import Tensor, nn

SYM6 = (
    *(0.015404109327027373, 0.0034907120842174702, -0.11799011114819057, -0.048311742585633, 0.4910559419267466),
    *(0.787641141030194, 0.3379294217276218, -0.07263752278646252, -0.021060292512300564, 0.04472490177066578),
    *(0.0017677118642428036, -0.007800708325034148),
)
"""The low-pass filter of the wavelet symlet 6: 12 taps, orthogonal to itself shifted by 2, 4, … (Daubechies 1992)."""
DELAY = 5
"""Its tap that belongs to the pixel itself."""


def bilinear(images: Tensor, x: Tensor, y: Tensor) -> Tensor:
    """Samples images at any positions; outside of them is 0.

    Args:
        images: (B, C, H, W).
        x: Columns, (B, N); 0 is the centre of the first pixel.
        y: Rows, (B, N).

    Returns:
        (B, C, N), differentiable any number of times by the images, not by the positions.
    """
    height, width = images.shape[2:]
    left, top = x.floor(), y.floor()
    indices, weights = [], []
    for row, column in ((top, left), (top, left + 1), (top + 1, left), (top + 1, left + 1)):
        inside = (row >= 0) & (row < height) & (column >= 0) & (column < width)
        weights.append((1 - (x - column).abs()) * (1 - (y - row).abs()) * inside)
        indices.append(row.clamp(0, height - 1).long() * width + column.clamp(0, width - 1).long())
    index = torch.cat(indices, 1).unsqueeze(1).expand(-1, images.shape[1], -1)
    corners = images.flatten(2).gather(2, index) * torch.cat(weights, 1).unsqueeze(1)
    sampled: Tensor = corners.unflatten(2, (4, -1)).sum(2)
    return sampled


def upsampling(side: int) -> np.ndarray:
    """Returns the matrix that continues `side` pixels by reflection, and filters at twice their rate.

    (2 (3 side - 2), side). There are side - 1 pixels more at both ends; pixel i of all of them becomes sample 2 i.
    """
    padded = np.abs(np.arange(1 - side, 2 * side - 1))
    source = np.where(padded < side, padded, 2 * (side - 1) - padded)
    zeros = np.zeros((2 * len(source), len(source)))
    for tap, weight in enumerate(SYM6):
        sample = 2 * np.arange(len(source)) + tap - DELAY
        inside = (sample >= 0) & (sample < len(zeros))
        zeros[sample[inside], np.flatnonzero(inside)] = weight * 2**0.5
    return zeros @ np.eye(side)[source]


def downsampling(side: int) -> np.ndarray:
    """Returns the matrix that filters 2 side + 10 samples down to `side` pixels; sample 2 i + `DELAY` is pixel i."""
    matrix = np.zeros((side, 2 * side + len(SYM6) - 2))
    for tap, weight in enumerate(SYM6):
        matrix[np.arange(side), 2 * np.arange(side) + tap] = weight / 2**0.5
    return matrix


class AffineResampler(nn.Module):
    """Transforms images of one size; beyond their edge they are continued by reflection, once."""

    def __init__(self, height: int, width: int) -> None:
        """Makes the filters for images of this size."""
        super().__init__()
        self.sides = height, width
        for axis, side in (("y", height), ("x", width)):
            for name, matrix in (("up", upsampling(side)), ("down", downsampling(side))):
                self.register_buffer(f"{name}_{axis}", torch.tensor(matrix, dtype=torch.float32), persistent=False)

    def forward(self, images: Tensor, inverse: Tensor) -> Tensor:
        """Returns the transformed images.

        Args:
            images: (B, C, H, W).
            inverse: Homogeneous matrices (B, 3, 3) from positions (x, y, 1) in the result to those in the images, in
                pixels from the centre, x to the right and y down.
        """
        up_y, up_x, down_y, down_x = (
            self.get_buffer(name).to(images.dtype) for name in ("up_y", "up_x", "down_y", "down_x")
        )
        fine = up_y @ images @ up_x.mT
        y, x = (self._positions(side, images) for side in self.sides)
        y, x = y.unsqueeze(1), x.unsqueeze(0)
        columns, rows = (
            row[:, 0].view(-1, 1, 1) * x + row[:, 1].view(-1, 1, 1) * y + row[:, 2].view(-1, 1, 1)
            for row in (inverse[:, 0], inverse[:, 1])
        )
        rows, columns = (
            2 * (position + (side - 1) / 2 + side - 1)
            for position, side in zip((rows, columns), self.sides, strict=True)
        )
        sampled = bilinear(fine, columns.flatten(1), rows.flatten(1)).unflatten(2, columns.shape[1:])
        transformed: Tensor = down_y @ sampled @ down_x.mT
        return transformed

    @staticmethod
    def _positions(side: int, like: Tensor) -> Tensor:
        """Returns where the samples of the result are, in pixels from its centre."""
        samples = torch.arange(2 * side + len(SYM6) - 2, device=like.device, dtype=like.dtype)
        return (samples - DELAY) / 2 - (side - 1) / 2
