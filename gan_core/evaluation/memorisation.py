"""A test for data copying: are fakes nearer to the training images than held-out real images are?

This is the three-sample test of Meehan et al. 2020, A non-parametric test to detect data-copying, section 3, without
cells. The held-out images are a fold of the training split, not the test split. The test split can differ from it:
MNIST's has other writers, and compared with it even real images of the training split would count as copies.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

_BASELINE_QUANTILE = 0.01


@dataclass(frozen=True, kw_only=True, slots=True)
class DataCopying:
    """Distances of fakes to the training images, compared with those of held-out real images.

    Attributes:
        share: The share of fakes whose distance to a training image is below the 1 % quantile of the held-out images:
            0.01 without copying.
        z: The Mann-Whitney statistic of all distances, in standard deviations: about 0 without copying, far below 0 if
            fakes are nearer to the training images, above 0 if they are further away.
    """

    share: float
    z: float


def data_copying(fake: Tensor, held_out: Tensor) -> DataCopying:
    """Compares distances to the nearest training image: (M,) of fakes with (N,) of held-out real images."""
    ordered = held_out.double().sort().values
    wins = torch.searchsorted(ordered, fake.double()) + torch.searchsorted(ordered, fake.double(), right=True)
    m, n = len(fake), len(held_out)
    # Mann & Whitney 1947: U counts the pairs in which the fake is further away; a tie counts 1/2.
    u = float(wins.double().sum()) / 2
    z = (u - m * n / 2) / (m * n * (m + n + 1) / 12) ** 0.5
    threshold = torch.quantile(ordered, _BASELINE_QUANTILE)
    return DataCopying(share=float((fake.double() < threshold).double().mean()), z=z)
