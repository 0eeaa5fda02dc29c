"""Which classes a generator draws, as a classifier of real images reads them."""

import torch
from torch import Tensor


def histogram(labels: Tensor, classes: int) -> Tensor:
    """Counts the labels (N,): (classes,) int64."""
    return torch.bincount(labels.cpu(), minlength=classes)


def kl_to_real(counts: Tensor, real: Tensor) -> float:
    """Returns the reverse divergence KL(fake || real) = Σ q log(q / p) of two histograms (K,), in nats.

    The measure of Metz et al. 2017 for Stacked-MNIST. N samples of a perfect generator score (K - 1) / (2 N) on average
    (Miller 1955), see `kl_of_chance`.
    """
    q, p = counts.double() / counts.sum(), real.double() / real.sum()
    drawn = q > 0
    return float((q[drawn] * (q[drawn] / p[drawn]).log()).sum())


def kl_of_chance(classes: int, count: int) -> float:
    """Returns what `kl_to_real` is on average for a perfect generator: chance alone makes a histogram uneven."""
    return (classes - 1) / (2 * count)


def modes(counts: Tensor, real: Tensor, least: float) -> int:
    """Returns how many classes are drawn at least `least` times as often as they are real, and at least once.

    A classifier that errs once in a hundred finds some samples of every class, also of one that is never drawn; so one
    sample alone says little unless there are many classes.
    """
    share, real_share = counts.double() / counts.sum(), real.double() / real.sum()
    return int(((counts > 0) & (share >= least * real_share)).sum())


def agreement(predicted: Tensor, asked: Tensor, classes: int) -> tuple[float, list[float]]:
    """Returns the share of samples read as the class that was asked for, over all and for each class (GAN-test).

    Shmelkov et al. 2018, How good is my GAN?, section 3.1. Labels are (N,); every class must have been asked for.
    """
    right = (predicted == asked).double().cpu()
    shares = histogram(asked, classes)
    return float(right.mean()), (torch.bincount(asked.cpu(), weights=right, minlength=classes) / shares).tolist()
