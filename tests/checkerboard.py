"""How strong a pattern of dots is in images: their energy at the Nyquist frequencies, whose period is two pixels."""

import torch
from torch import Tensor


def nyquist_energy(images: Tensor) -> float:
    """Returns the mean of |F(u, v)|² at the frequencies (1/2, 0), (0, 1/2) and (1/2, 1/2), per pixel.

    Transposed convolutions with stride 2 weight even and odd pixels differently, which adds (-1)^x, (-1)^y and their
    product to an image, times its brightness (Odena et al. 2016). Photographs have hardly any energy there.

    Args:
        images: (N, C, H, W) with even sides, uint8 or in [-1, 1].
    """
    images = images.double() / 127.5 - 1 if images.dtype == torch.uint8 else images.double()
    height, width = images.shape[2:]
    spectrum = torch.fft.fft2(images).abs().square() / (height * width)
    dots = spectrum[..., 0, width // 2], spectrum[..., height // 2, 0], spectrum[..., height // 2, width // 2]
    return float(torch.stack(dots).mean())
