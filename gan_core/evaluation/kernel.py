"""The kernel distance (KID): an unbiased estimate of the squared maximum mean discrepancy with a cubic kernel.

Bińkowski et al. 2018, Demystifying MMD GANs, section 4; the estimator is equation 4 (Gretton et al. 2012, lemma 6).
"""

from collections.abc import Callable

import torch
from torch import Tensor

BLOCKS = 10
"""The minimum number of blocks of the data; the standard error is computed from their spread."""

_BLOCK = 1000
_COLUMNS = 64
_LEAST, _SHARE = 10, 0.01


def squared_mmd(fake: Tensor, real: Tensor) -> float:
    """Returns the unbiased estimate of the squared MMD of features (M, d) and (N, d). It can be negative near 0.

    The kernel is k(x, y) = (x·y / d + 1)³.
    """
    x, y = fake.double(), real.double()
    (m, d), n = x.shape, len(y)
    within_fake = _cubic(x @ x.T / d)
    within_real = _cubic(y @ y.T / d)
    across = _cubic(x @ y.T / d)
    return float(
        (within_fake.sum() - within_fake.trace()) / (m * (m - 1))
        + (within_real.sum() - within_real.trace()) / (n * (n - 1))
        - 2 * across.mean()
    )


def kernel_distance(
    fake: Tensor, real: Tensor, scale: Callable[[Tensor], Tensor] = torch.Tensor.double
) -> tuple[float, float]:
    """Returns KID and its standard error from fake and real features, (N, d) each, N at least 20, scaled by block.

    KID is the mean over ten blocks of the data, or over more than ten blocks of 1,000 images each. Because the blocks
    share no image, their spread gives a correct standard error, unlike that of the usual overlapping subsets.
    """
    return mean_and_error(block_distances(fake, real, block_size(len(fake)), scale))


def block_size(count: int) -> int:
    """Returns the number of images in each block of `count` images."""
    return min(_BLOCK, count // BLOCKS)


def block_distances(
    fake: Tensor, real: Tensor, size: int, scale: Callable[[Tensor], Tensor] = torch.Tensor.double
) -> list[float]:
    """Returns the squared MMD of each block of fake features with the same block of real ones, whole blocks only.

    Features are scaled block by block.
    """
    count = min(len(fake), len(real)) // size * size
    pairs = zip(fake[:count].split(size), real[:count].split(size), strict=True)
    return [squared_mmd(scale(x), scale(y)) for x, y in pairs]


def mean_and_error(distances: list[float]) -> tuple[float, float]:
    """Returns the mean of the blocks' distances, and its standard error."""
    found = torch.tensor(distances, dtype=torch.float64)
    return float(found.mean()), float(found.std() / len(found) ** 0.5)


class Standardiser:
    """Scales features so that each has mean 0 and variance 1 over a reference set, and drops degenerate ones.

    Without scaling, a few images whose ReLU features have a large norm dominate the cubic kernel. A feature is dropped
    (it is 0 for every image) if fewer than 1 % of the reference images, or fewer than 10, differ from its median: such
    as a unit that is constant, or that is active in two of 1,000 images, which would be 22 standard deviations away.
    """

    def __init__(self, reference: Tensor) -> None:
        """Takes the reference features (N, d)."""
        means, spreads = zip(*(self._of(part.double()) for part in reference.split(_COLUMNS, dim=1)), strict=True)
        self.mean, self.spread = torch.cat(means), torch.cat(spreads)

    @staticmethod
    def _of(values: Tensor) -> tuple[Tensor, Tensor]:
        # Not `median(0)`, which torch refuses on GPUs where only deterministic algorithms are allowed.
        median = values.sort(0).values[(len(values) - 1) // 2]
        differing = (values != median).sum(0)
        kept = differing >= max(_LEAST, _SHARE * len(values))
        return values.mean(0), torch.where(kept, values.std(0), torch.inf)

    def __call__(self, features: Tensor) -> Tensor:
        """Returns the scaled features (N, d) in float64."""
        return (features.double() - self.mean) / self.spread


def _cubic(products: Tensor) -> Tensor:
    return (products + 1.0) ** 3
