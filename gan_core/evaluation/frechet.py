"""The Fréchet distance between two sets of features, each described by its mean and covariance.

Dowson & Landau 1982, equation 4; as a measure of generators (FID): Heusel et al. 2017, equation 6.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

CHUNK = 1000
"""Rows that are copied to float64 at a time."""


class Moments:
    """Accumulates the count, sum and products of features in float64. Sums of several processes can be added.

    Features are centred on a reference mean, because sums of squares far from zero lose the digits of the variance.

    Attributes:
        about: The reference mean (d,).
        gram: The sum over all features x of (1, x - about)ᵀ (1, x - about): (d + 1, d + 1). Its first entry is the
            count.
    """

    def __init__(self, about: Tensor) -> None:
        self.about = about.cpu().double()  # In this order, because some GPUs have no float64.
        self.gram = torch.zeros(len(about) + 1, len(about) + 1, dtype=torch.float64)

    def add(self, features: Tensor) -> "Moments":
        """Adds features (N, d) and returns self."""
        for part in features.split(CHUNK):
            rows = F.pad(part.cpu().double() - self.about, (1, 0), value=1.0)
            self.gram += rows.T @ rows
        return self

    def gaussian(self) -> tuple[Tensor, Tensor]:
        """Returns the mean (d,) and the unbiased covariance (d, d) of at least two features."""
        count = self.gram[0, 0]
        mean = self.gram[0, 1:] / count
        covariance = (self.gram[1:, 1:] - count * mean.outer(mean)) / (count - 1)
        return self.about + mean, covariance


def frechet_distance(one: tuple[Tensor, Tensor], other: tuple[Tensor, Tensor]) -> float:
    """Returns |μ₁ - μ₂|² + tr(Σ₁ + Σ₂ - 2 (Σ₁^½ Σ₂ Σ₁^½)^½), in the features' unit squared.

    The symmetric form has real, non-negative eigenvalues even if a covariance is singular, e.g. because of dead units.

    Args:
        one: A mean (d,) and a covariance (d, d), float64.
        other: The other mean and covariance, with the same shapes.
    """
    (mean_one, covariance_one), (mean_other, covariance_other) = one, other
    values, vectors = torch.linalg.eigh(covariance_one)
    root = vectors * values.clamp(min=0).sqrt() @ vectors.T
    crossed = torch.linalg.eigvalsh(root @ covariance_other @ root).clamp(min=0).sqrt().sum()
    trace = covariance_one.trace() + covariance_other.trace() - 2 * crossed
    return float((mean_one - mean_other).square().sum() + trace)
