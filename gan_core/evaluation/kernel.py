"""The kernel distance (KID): an unbiased estimate of the squared maximum mean discrepancy with a cubic kernel.

Bińkowski et al. 2018, Demystifying MMD GANs, section 4; the estimator is equation 4 (Gretton et al. 2012, lemma 6).
"""

import torch
from torch import Tensor

BLOCKS = 10
"""The minimum number of blocks of the data; the standard error is computed from their spread."""

_BLOCK = 1000
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


def kernel_distance(fake: Tensor, real: Tensor) -> tuple[float, float]:
    """Returns KID and its standard error from fake and real features, (N, d) each, N at least 20.

    KID is the mean over ten blocks of the data, or over more than ten blocks of 1,000 images each. Because the blocks
    share no image, their spread gives a correct standard error, unlike that of the usual overlapping subsets.
    """
    size = min(_BLOCK, len(fake) // BLOCKS)
    blocks = len(fake) // size
    pairs = zip(fake[: blocks * size].split(size), real[: blocks * size].split(size), strict=True)
    estimates = torch.tensor([squared_mmd(x, y) for x, y in pairs], dtype=torch.float64)
    return float(estimates.mean()), float(estimates.std() / blocks**0.5)


class Standardiser:
    """Scales features so that each has mean 0 and variance 1 over a reference set, and drops degenerate ones.

    Without scaling, a few images whose ReLU features have a large norm dominate the cubic kernel. A feature is dropped
    (it is 0 for every image) if fewer than 1 % of the reference images, or fewer than 10, differ from its median: such
    as a unit that is constant, or that is active in two of 1,000 images, which would be 22 standard deviations away.
    """

    def __init__(self, reference: Tensor) -> None:
        """Takes the reference features (N, d)."""
        values = reference.double()
        # Not `median(0)`, which torch refuses on GPUs where only deterministic algorithms are allowed.
        median = values.sort(0).values[(len(values) - 1) // 2]
        differing = (values != median).sum(0)
        kept = differing >= max(_LEAST, _SHARE * len(values))
        self.mean, self.spread = values.mean(0), torch.where(kept, values.std(0), torch.inf)

    def __call__(self, features: Tensor) -> Tensor:
        """Returns the scaled features (N, d) in float64."""
        return (features.double() - self.mean) / self.spread


def _cubic(products: Tensor) -> Tensor:
    return (products + 1.0) ** 3
