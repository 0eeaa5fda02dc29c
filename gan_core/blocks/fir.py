"""Up- and down-sampling with a finite impulse response (FIR) filter, which keeps frequencies from being aliased.

The filter is [1, 3, 3, 1] / 8 in both directions, that of StyleGAN2's code (Karras et al. 2020). It is also the
interpolation of R3GAN's code (Huang et al. 2024), which calls it [1, 2, 1]: this filter after the [1, 1] of
nearest-neighbour resampling. What lies outside of a map is 0.

It is computed as M x Nᵀ with constant matrices, which on CPUs takes half the time of a convolution of each channel; on
sides above `MOST` it is that convolution. Both can be differentiated any number of times.
"""

from functools import lru_cache

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from gan_core.transfer import to_device

TAPS = (1 / 8, 3 / 8, 3 / 8, 1 / 8)
MOST = 128
"""The largest side of a map that is filtered with matrices: their cost grows with the side."""


def upsample(x: Tensor) -> Tensor:
    """Returns maps of twice the sides: (B, C, H, W) -> (B, C, 2 H, 2 W)."""
    return _filtered(x, up=2, down=1, before=2, after=1)


def downsample(x: Tensor) -> Tensor:
    """Returns maps of half the sides, which must be even: (B, C, H, W) -> (B, C, H / 2, W / 2)."""
    return _filtered(x, up=1, down=2, before=1, after=1)


def blur(x: Tensor, padding: int) -> Tensor:
    """Returns filtered maps: (B, C, H, W) -> (B, C, H + 2 padding - 3, W + 2 padding - 3)."""
    return _filtered(x, up=1, down=1, before=padding, after=padding)


def _filtered(x: Tensor, up: int, down: int, before: int, after: int) -> Tensor:
    """Puts up - 1 zeros after each pixel, pads, filters with a gain of up in each direction, keeps every down-th."""
    sides = x.shape[2:]
    if max(sides) <= MOST:
        rows, columns = (
            to_device(torch.from_numpy(_matrix(side, up, down, before, after)), x.device, x.dtype) for side in sides
        )
        return rows @ x @ columns.T
    channels = x.shape[1]
    taps = to_device(torch.tensor(TAPS), x.device, x.dtype)
    kernel = (up * up * torch.outer(taps, taps)).expand(channels, 1, -1, -1)
    if up > 1:  # Its padding crops: without any, there would be 3 zeros before the first pixel.
        return F.conv_transpose2d(x, kernel, stride=up, padding=len(TAPS) - 1 - before, groups=channels)
    return F.conv2d(x, kernel, stride=down, padding=before, groups=channels)


@lru_cache
def _matrix(side: int, up: int, down: int, before: int, after: int) -> np.ndarray:
    """Returns the matrix (rows of the result, side) of one direction."""
    rows = (side * up + before + after - len(TAPS)) // down + 1
    matrix = np.zeros((rows, side))
    for row in range(rows):
        for pixel in range(side):
            tap = pixel * up + before - row * down
            if 0 <= tap < len(TAPS):
                matrix[row, pixel] = up * TAPS[tap]
    return matrix
