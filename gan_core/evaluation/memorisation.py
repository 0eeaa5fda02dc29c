"""Whether a generator repeats its training images: are they nearer to it than fresh real images are?

The three-sample test of Meehan et al. 2020, A non-parametric test to detect data-copying, section 3, without cells.
What is fresh is a fold of the training split itself: MNIST's test split, for one, has other writers, and by it a real
training image passes for a copy.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

_RARE = 0.01


@dataclass(frozen=True, kw_only=True, slots=True)
class Copying:
    """How the distances of fakes to the training images compare with those of fresh real images.

    Attributes:
        share: The share of fakes nearer to a training image than 1 in 100 of the fresh images: 0.01 without copying.
        z: The Mann-Whitney statistic of all the distances, in standard deviations: about 0 without copying, far below
            where fakes are nearer, and above where they are further off.
    """

    share: float
    z: float


def copying(fake: Tensor, fresh: Tensor) -> Copying:
    """Compares distances to the nearest training image, (M,) of fakes with (N,) of fresh real images."""
    ordered = fresh.double().sort().values
    wins = torch.searchsorted(ordered, fake.double()) + torch.searchsorted(ordered, fake.double(), right=True)
    m, n = len(fake), len(fresh)
    # Mann & Whitney 1947: U counts the pairs in which the fake is further off, and ties by half.
    u = float(wins.double().sum()) / 2
    z = (u - m * n / 2) / (m * n * (m + n + 1) / 12) ** 0.5
    rare = torch.quantile(ordered, _RARE)
    return Copying(share=float((fake.double() < rare).double().mean()), z=z)
