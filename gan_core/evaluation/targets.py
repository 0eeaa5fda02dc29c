"""How far images are from the images that they should equal, their targets: the mean absolute error (L1), and PSNR.

Both are computed for each image, over all of its pixels and channels, and averaged over images. L1 is that of values in
[-1, 1], as a loss has it. PSNR is 10 log10(255² / MSE) of values in [0, 255], in dB; that of an image that equals its
target, which is infinite, counts as 100.
"""

import torch
from torch import Tensor

MOST_PSNR = 100.0


def differences(images: Tensor, targets: Tensor) -> Tensor:
    """Returns the sums of each image's absolute and of its squared errors, (N, 2) int64: exact on any machine.

    Args:
        images: (N, C, H, W) uint8.
        targets: Of the same shape.
    """
    errors = (images.int() - targets.int()).flatten(1)
    return torch.stack([errors.abs().sum(1), errors.square().sum(1)], 1)


def l1(differences: Tensor, pixels: int) -> Tensor:
    """Returns the mean absolute error of each image, (N,) float64.

    Args:
        differences: As the function of this name returns them, (N, 2).
        pixels: Values of an image, C · H · W.
    """
    return differences[:, 0].double() / (127.5 * pixels)


def psnr(differences: Tensor, pixels: int) -> Tensor:
    """Returns the peak signal-to-noise ratio of each image in dB, (N,) float64; see `l1` for the arguments."""
    return (10 * (255**2 * pixels / differences[:, 1].double()).log10()).clamp(max=MOST_PSNR)
