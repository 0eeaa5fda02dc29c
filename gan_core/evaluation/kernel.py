"""The kernel distance (KID): an unbiased squared maximum mean discrepancy with a cubic kernel.

Bińkowski et al. 2018, Demystifying MMD GANs, section 4; the estimator is equation 4 (of Gretton et al. 2012, lemma 6).
"""

import torch
from torch import Tensor

BLOCKS = 10
"""Parts of the data, at least, from whose spread comes the error."""

_BLOCK = 1000


def squared_mmd(fake: Tensor, real: Tensor) -> float:
    """Returns the unbiased estimate from features (M, d) and (N, d). Near its floor it may be negative.

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
    """Returns KID and its standard error, from equally many features of each: (N, d), N at least 20.

    KID is the mean over ten blocks of the data, or over more of 1,000 images each. The blocks share no image, so their
    spread gives an honest error, as that of the subsets that overlap, which are usual, does not.
    """
    size = min(_BLOCK, len(fake) // BLOCKS)
    blocks = len(fake) // size
    pairs = zip(fake[: blocks * size].split(size), real[: blocks * size].split(size), strict=True)
    estimates = torch.tensor([squared_mmd(x, y) for x, y in pairs], dtype=torch.float64)
    return float(estimates.mean()), float(estimates.std() / blocks**0.5)


class Standard:
    """Features on the scale of the real ones: each with mean 0 and variance 1 over the reference.

    On raw features of a ReLU network a few rows of large norm decide the cubic kernel.
    """

    def __init__(self, reference: Tensor) -> None:
        """Takes the reference's features (N, d); one that is constant keeps its scale."""
        spread = reference.double().std(0)
        self.mean, self.spread = reference.double().mean(0), torch.where(spread > 0, spread, 1.0)

    def __call__(self, features: Tensor) -> Tensor:
        """Maps features (N, d) to float64."""
        return (features.double() - self.mean) / self.spread


def _cubic(products: Tensor) -> Tensor:
    return (products + 1.0) ** 3
