"""Metrics over the classes of generated images, as predicted by a classifier of real images."""

import torch
from torch import Tensor


def histogram(labels: Tensor, classes: int) -> Tensor:
    """Returns how often each class occurs in labels (N,): (classes,) int64."""
    return torch.bincount(labels.cpu(), minlength=classes)


def kl_to_real(counts: Tensor, real: Tensor) -> float:
    """Returns the reverse divergence KL(fake || real) = Σ q log(q / p) of two histograms (K,), in nats.

    Metz et al. 2017 use it for Stacked-MNIST. N samples of a perfect generator score (K - 1) / (2 N) on average (Miller
    1955), see `expected_kl`.
    """
    q, p = counts.double() / counts.sum(), real.double() / real.sum()
    present = q > 0
    return float((q[present] * (q[present] / p[present]).log()).sum())


def expected_kl(classes: int, count: int) -> float:
    """Returns the mean of `kl_to_real` for `count` samples of a perfect generator: sampling noise alone, in nats."""
    return (classes - 1) / (2 * count)


def modes(counts: Tensor, real: Tensor, min_share: float) -> int:
    """Returns how many classes have at least one sample and at least `min_share` times the share of real images.

    A classifier with an error rate of 1 % predicts every class for some samples, even a class that is never generated.
    With few classes, a single sample is therefore no evidence of a mode.

    Args:
        counts: Histogram of the samples' classes, (K,).
        real: Histogram of the real images' classes, (K,).
        min_share: The required ratio of the two shares of a class.
    """
    share, real_share = counts.double() / counts.sum(), real.double() / real.sum()
    return int(((counts > 0) & (share >= min_share * real_share)).sum())


def agreement(predicted: Tensor, requested: Tensor, classes: int) -> tuple[float, list[float]]:
    """Returns the share of samples classified as the requested class, over all samples and per class (GAN-test).

    Shmelkov et al. 2018, How good is my GAN?, section 3.1.

    Args:
        predicted: The classifier's labels, (N,).
        requested: The labels passed to the generator, (N,). Every class must occur.
        classes: The number of classes.
    """
    correct = (predicted == requested).double().cpu()
    counts = histogram(requested, classes)
    by_class = torch.bincount(requested.cpu(), weights=correct, minlength=classes) / counts
    return float(correct.mean()), by_class.tolist()
