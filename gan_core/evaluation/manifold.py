"""Precision, recall, density and coverage, which measure fidelity and diversity separately.

The manifold of a set is the union of balls around its points. The radius of a ball is the distance to the k-th nearest
other point of the set.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from gan_core.evaluation.neighbours import CHUNK, distances, kth_distance

K = 5
"""Naeem et al. 2020 recommend 5 for density and coverage."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Overlap:
    """The overlap of fake and real features.

    Attributes:
        precision: The share of fakes within the manifold of the real images: 0 to 1 (Kynkäänniemi et al. 2019,
            equation 2).
        recall: The share of real images within the manifold of the fakes: 0 to 1 (Kynkäänniemi et al. 2019,
            equation 3).
        density: The mean number of balls around real images that contain a fake, divided by k: at least 0, and 1 for
            equal distributions (Naeem et al. 2020, equation 3). Unlike precision, it is not raised by outliers among
            the real images.
        coverage: The share of balls around real images that contain a fake: 0 to 1 (Naeem et al. 2020, equation 4).
    """

    precision: float
    recall: float
    density: float
    coverage: float


def overlap(fake: Tensor, real: Tensor, k: int = K) -> Overlap:
    """Compares fake features (M, d) with real features (N, d); M and N must exceed k."""
    fake_radii, real_radii = kth_distance(fake, k), kth_distance(real, k)
    balls = torch.zeros(len(fake), dtype=torch.long, device=fake.device)
    reached, covered = (torch.zeros(len(real), dtype=torch.bool, device=real.device) for _ in range(2))
    for first in range(0, len(fake), CHUNK):
        part = slice(first, first + CHUNK)
        between = distances(fake[part], real)
        in_real = between <= real_radii
        balls[part] = in_real.sum(1)
        covered |= in_real.any(0)
        reached |= (between <= fake_radii[part, None]).any(0)
    return Overlap(
        precision=float((balls > 0).double().mean()),
        recall=float(reached.double().mean()),
        density=float(balls.double().mean() / k),
        coverage=float(covered.double().mean()),
    )
