"""Noise that is added to the maps of a generator, the same on any number of processes."""

import numpy as np
import torch
from torch import Tensor, nn

from gan_core.row_randomness import layer_randomness
from gan_core.transfer import to_device

BITS = 24
"""Random bits of a number: as many as float32 can hold, so that a uniform number is never rounded to 1."""


class Noise(nn.Module):
    """Adds strength · n to maps (B, C, H, W), with n ~ N(0, 1) of (B, 1, H, W), one value for all channels.

    Source: Karras et al. 2019, A Style-Based Generator Architecture for Generative Adversarial Networks, section 2; one
    learned strength for all channels as in Karras et al. 2020, Analyzing and Improving the Image Quality of StyleGAN,
    which begins at 0.

    In training and sampling, n is drawn from the run's own streams, row by row of the global batch, in training mode
    and in eval mode: it is the same on any number of processes, after a resume, and for samples of the same seed. Rows
    must be those of the global batch in its order, or a fixed number for each. Elsewhere torch draws n.
    """

    def __init__(self) -> None:
        """Makes the strength, a parameter."""
        super().__init__()
        self.strength = nn.Parameter(torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        """Returns x with noise."""
        return x + self.strength * normal(x)


def normal(x: Tensor) -> Tensor:
    """Returns a sample of N(0, 1) of shape (B, 1, H, W) for x (B, C, H, W), at least float32, then as x's dtype."""
    shape, random = (1, *x.shape[2:]), layer_randomness()
    if random is None:
        return torch.randn(len(x), *shape, device=x.device, dtype=x.dtype)
    bits = to_device(random.bits(len(x), shape, np.int32) >> (32 - BITS), x.device)
    # The inverse of the distribution function, at the middles of 2^24 equal parts of (-1, 1).
    uniform = (bits.to(torch.promote_types(x.dtype, torch.float32)) + 0.5) / 2 ** (BITS - 1)
    return (2**0.5 * torch.erfinv(uniform)).to(x.dtype)
