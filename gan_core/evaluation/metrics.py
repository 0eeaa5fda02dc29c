"""All metrics of one set of images. What measures a generator measures real images in its place: that is the floor.

fid               Fréchet distance to the test split
fid_per_trace     the same over the trace of the real covariance, a scale that feature spaces share roughly
kid               kernel distance on standardised features
precision recall density coverage    of the test split's manifold, k = 5
modes kl          classes drawn, and the divergence of their histogram from the training split's
histogram         share of each class
confidence        the classifier's mean confidence
agreement         share of samples read as the class asked for; also for each class
unique            different images, over all images
copies copying_z  nearness to training images, measured on a held-out fold
"""

from dataclasses import dataclass, field

from torch import Tensor

from gan_core.evaluation.classes import agreement, histogram, kl_to_real, modes
from gan_core.evaluation.embed import Embedded
from gan_core.evaluation.frechet import Moments, frechet_distance
from gan_core.evaluation.kernel import BLOCKS, Standard, kernel_distance
from gan_core.evaluation.manifold import K, overlap
from gan_core.evaluation.memorisation import copying
from gan_core.evaluation.reference import Reference

ONE_NUMBER = (
    *("fid", "fid_per_trace", "kid", "precision", "recall", "density", "coverage", "modes", "kl", "confidence"),
    *("agreement", "unique", "copies", "copying_z"),
)
"""The metrics that are one number, and so can be terms of a log."""

FEW = 2000
"""FID of fewer samples is mostly bias: on 1,000 images, three times what it is on 10,000."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Measured:
    """A metric of one set of images.

    Attributes:
        value: A number, or one for each class.
        samples: From how many images.
        error: Its standard error, where that is known.
    """

    value: float | list[float]
    samples: int
    error: float | None = None


@dataclass(frozen=True, kw_only=True)
class Subject:
    """What is measured.

    Attributes:
        images: All of it, embedded.
        compared: How many of the images, from the first on, are compared with as many of the test split.
        moments: Of the features of those, or None where there are no features.
        asked: The labels asked for, (N,) int64, or None.
        nearest: Distances to the nearest training image, (M,), or None where there are no features.
    """

    images: Embedded
    compared: int
    moments: Moments | None
    asked: Tensor | None
    nearest: Tensor | None


@dataclass
class Metrics:
    """Measured metrics by name, and for each other one the reason why it was not."""

    measured: dict[str, Measured] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)

    def skip(self, why: str, *names: str) -> None:
        """Says why metrics are missing."""
        self.skipped |= dict.fromkeys(names, why)


def measure(subject: Subject, reference: Reference, *, small_fid: bool) -> Metrics:
    """Computes every metric that can be had; `small_fid` also wants FID of fewer than 2,000 images."""
    metrics, images = Metrics(), subject.images
    unique = len(images.digests.unique()) / len(images.digests)
    metrics.measured["unique"] = Measured(value=unique, samples=len(images.digests))
    if subject.moments is None:
        features = ("fid", "fid_per_trace", "kid", "precision", "recall", "density", "coverage", "copies", "copying_z")
        metrics.skip(reference.missing, *features)
    else:
        _distances(metrics, subject, subject.moments, reference, small_fid)
        _overlap(metrics, subject, reference)
        _copying(metrics, subject, reference)
    if images.predicted is None:
        why = reference.missing or f"the feature space {reference.name!r} knows no classes"
        metrics.skip(why, "modes", "kl", "histogram", "confidence", "agreement", "agreement_by_class")
    else:
        _classes(metrics, subject, reference, images.predicted)
    return metrics


def _distances(metrics: Metrics, subject: Subject, moments: Moments, reference: Reference, small_fid: bool) -> None:
    fake, real, count = subject.images.features, reference.test.features, subject.compared
    assert fake is not None
    assert real is not None
    assert reference.train.features is not None
    if count < 2 * BLOCKS:
        why = f"it needs {2 * BLOCKS} images of each kind, and there are {count}"
        metrics.skip(why, "fid", "fid_per_trace", "kid")
        return
    if count >= FEW or small_fid:
        real_gaussian = Moments(moments.about).add(real[:count]).gaussian()
        distance = frechet_distance(moments.gaussian(), real_gaussian)
        metrics.measured["fid"] = Measured(value=distance, samples=count)
        metrics.measured["fid_per_trace"] = Measured(value=distance / float(real_gaussian[1].trace()), samples=count)
    else:
        why = f"on {count:,} samples, below {FEW:,}, it is mostly bias; --small-fid computes it all the same"
        metrics.skip(why, "fid", "fid_per_trace")
    standard = Standard(reference.train.features)
    distance, error = kernel_distance(standard(fake[:count]), standard(real[:count]))
    metrics.measured["kid"] = Measured(value=distance, samples=count, error=error)


def _overlap(metrics: Metrics, subject: Subject, reference: Reference) -> None:
    fake, real, count = subject.images.features, reference.test.features, subject.compared
    assert fake is not None
    assert real is not None
    names = ("precision", "recall", "density", "coverage")
    if count <= K:
        metrics.skip(f"it needs more than {K} images of each kind, and there are {count}", *names)
        return
    found = overlap(fake[:count], real[:count])
    metrics.measured |= {name: Measured(value=getattr(found, name), samples=count) for name in names}


def _copying(metrics: Metrics, subject: Subject, reference: Reference) -> None:
    assert subject.nearest is not None
    assert reference.fresh is not None
    found, samples = copying(subject.nearest, reference.fresh_half), len(subject.nearest)
    metrics.measured["copies"] = Measured(value=found.share, samples=samples)
    metrics.measured["copying_z"] = Measured(value=found.z, samples=samples)


def _classes(metrics: Metrics, subject: Subject, reference: Reference, predicted: Tensor) -> None:
    assert reference.counts is not None
    assert subject.images.confidence is not None
    classes, samples = reference.classes, len(predicted)
    counts = histogram(predicted, classes)
    found: dict[str, float | list[float]] = {
        "modes": float(modes(counts, reference.counts, reference.least_share)),
        "kl": kl_to_real(counts, reference.counts),
        "histogram": (counts.double() / samples).tolist(),
        "confidence": float(subject.images.confidence.double().mean()),
    }
    if subject.asked is None:
        metrics.skip("the generator is not conditional", "agreement", "agreement_by_class")
    elif len(subject.asked.unique()) < classes:
        metrics.skip(f"{samples:,} samples do not have all {classes} classes", "agreement", "agreement_by_class")
    else:
        found["agreement"], found["agreement_by_class"] = agreement(predicted, subject.asked, classes)
    metrics.measured |= {name: Measured(value=value, samples=samples) for name, value in found.items()}
