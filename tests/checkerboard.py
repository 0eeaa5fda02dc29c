"""A pattern of dots in images: their energy at the Nyquist frequency, a period of two pixels, in both directions."""

import torch
from torch import Tensor


def dot_energy(images: Tensor) -> float:
    """Returns the mean of |F(1/2, 1/2)|² of images and channels, per pixel: how much of (-1)^(x + y) is in them.

    Transposed convolutions with stride 2 weight the four phases of pixels differently, which adds such a pattern to
    flat areas (Odena et al. 2016). The edges of things have energy mainly at (1/2, 0) and (0, 1/2), so these are left
    out.

    Args:
        images: (N, C, H, W) with even sides, uint8 or in [-1, 1].
    """
    images = images.double() / 127.5 - 1 if images.dtype == torch.uint8 else images.double()
    height, width = images.shape[2:]
    sign = (-1.0) ** (torch.arange(height).unsqueeze(1) + torch.arange(width))
    return float((images * sign).sum((2, 3)).square().mean() / (height * width))
