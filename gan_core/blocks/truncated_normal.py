"""Truncated normal latents by the inverse of the cumulative distribution function (CDF)."""

from math import erf, sqrt

import numpy as np
import torch
from torch import Tensor


def truncated_normal(random: np.random.Generator, shape: tuple[int, ...], threshold: float) -> Tensor:
    """Returns float32 samples of N(0, 1) that is truncated to [-threshold, threshold].

    Brock et al. 2019, section 3.1, who draw values outside again. Here z = Φ⁻¹(½ + (Φ(t) - ½) u) with u ~ U[-1, 1) has
    the same distribution with one random number for each value, so that z depends continuously on the threshold.

    Args:
        random: The source of randomness.
        shape: The shape of the result.
        threshold: t, above 0.
    """
    u = torch.from_numpy(2 * random.random(shape) - 1)
    z: Tensor = torch.special.ndtri(0.5 + 0.5 * erf(threshold / sqrt(2)) * u)
    # Φ is 1 in float64 from 8.3 on, and its inverse there is infinite.
    return z.clamp(-threshold, threshold).float()
