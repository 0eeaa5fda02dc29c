"""Fidelity and diversity apart: how much of the fake is within the real, and how much of the real is reached.

A set's manifold is the union of balls about its points, each as large as the distance to the k-th nearest other point.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from gan_core.evaluation.neighbours import CHUNK, distances, kth_distance

K = 5
"""Naeem et al. 2020 recommend 5 for density and coverage."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Overlap:
    """How two sets of features overlap.

    Attributes:
        precision: The share of fakes within the manifold of the real: 0 to 1 (Kynkäänniemi et al. 2019, equation 2).
        recall: The share of reals within the manifold of the fake: 0 to 1 (the same, equation 3).
        density: In how many balls of the real a fake lies, over k: 0 up, 1 where the sets are alike (Naeem et al. 2020,
            equation 3). Unlike precision, it is not raised by outliers among the real.
        coverage: The share of the balls of the real with a fake in them: 0 to 1 (the same, equation 4).
    """

    precision: float
    recall: float
    density: float
    coverage: float


def overlap(fake: Tensor, real: Tensor, k: int = K) -> Overlap:
    """Compares features (M, d) with (N, d), more than k of each."""
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
