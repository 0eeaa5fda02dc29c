"""All metrics of one set of images: a generator's samples, or real images for their own score (the floor).

fid               Fréchet distance to the test split
fid_per_trace     fid divided by the trace of the real covariance, roughly comparable between feature spaces
kid               kernel distance on standardised features
precision recall density coverage    overlap with the test split, k = 5
modes kl          number of classes drawn, and the divergence of their histogram from the training split's
histogram         share of each class
confidence        mean confidence of the classifier
agreement         share of samples classified as the requested class; agreement_by_class for each class
unique            number of distinct images divided by the number of images
l1 psnr           distance to each image's target, where it has one
copies copying_z  distances to the training images, compared with those of a held-out fold
"""

from dataclasses import dataclass, field
from math import prod

from torch import Tensor

from gan_core.evaluation.classes import agreement, histogram, kl_to_real, modes
from gan_core.evaluation.embed import Embedded
from gan_core.evaluation.frechet import Moments, frechet_distance
from gan_core.evaluation.kernel import BLOCKS, Standardiser, kernel_distance
from gan_core.evaluation.manifold import K, overlap
from gan_core.evaluation.memorisation import data_copying
from gan_core.evaluation.reference import Reference
from gan_core.evaluation.targets import l1, psnr

SCALARS = (
    *("fid", "fid_per_trace", "kid", "precision", "recall", "density", "coverage", "modes", "kl", "confidence"),
    *("agreement", "unique", "copies", "copying_z"),
)
"""The scalar metrics, which can be logged as terms."""

OF_TARGETS = ("l1", "psnr")
"""The scalar metrics of images that have targets."""

FEATURELESS = ("unique", "gan_train", *OF_TARGETS)
"""The metrics that do not depend on the feature space."""

MIN_FID_SAMPLES = 2000
"""FID on fewer samples is mostly bias: on 1,000 images it is three times as large as on 10,000."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Metric:
    """A metric of one set of images.

    Attributes:
        value: A number, or a list with one number per class.
        samples: The number of images it was computed from.
        error: Its standard error, or None if unknown.
    """

    value: float | list[float]
    samples: int
    error: float | None = None


@dataclass(frozen=True, kw_only=True)
class MetricInputs:
    """The images to compute metrics of.

    Attributes:
        images: The embedding of all N images.
        compared: The number of images, from the first on, that are compared with as many images of the test split.
        moments: The moments of the compared images' features, or None without features.
        requested: The labels passed to the generator, (N,) int64, or None if it is not conditional.
        nearest: Distances of M images to the nearest training image, (M,), or None without features.
    """

    images: Embedded
    compared: int
    moments: Moments | None
    requested: Tensor | None
    nearest: Tensor | None


@dataclass
class Metrics:
    """Computed metrics by name, and for every skipped metric the reason."""

    measured: dict[str, Metric] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)

    def skip(self, why: str, *names: str) -> None:
        """Records why these metrics were not computed."""
        self.skipped |= dict.fromkeys(names, why)


def measure(inputs: MetricInputs, reference: Reference, *, small_fid: bool) -> Metrics:
    """Computes every available metric; with `small_fid`, FID even on fewer than 2,000 images."""
    metrics, images = Metrics(), inputs.images
    unique = len(images.digests.unique()) / len(images.digests)
    metrics.measured["unique"] = Metric(value=unique, samples=len(images.digests))
    if images.differences is not None:
        _targets(metrics, images.differences, reference)
    if inputs.moments is None:
        features = ("fid", "fid_per_trace", "kid", "precision", "recall", "density", "coverage", "copies", "copying_z")
        metrics.skip(reference.missing, *features)
    else:
        _distances(metrics, inputs, inputs.moments, reference, small_fid)
        _overlap(metrics, inputs, reference)
        _data_copying(metrics, inputs, reference)
    if images.predicted is None:
        why = reference.missing or f"the feature space {reference.name!r} does not predict classes"
        metrics.skip(why, "modes", "kl", "histogram", "confidence", "agreement", "agreement_by_class")
    else:
        _classes(metrics, inputs, reference, images.predicted)
    return metrics


def _targets(metrics: Metrics, differences: Tensor, reference: Reference) -> None:
    pixels, samples = prod(reference.data.dataset.spec.image().shape), len(differences)
    for name, values in (("l1", l1(differences, pixels)), ("psnr", psnr(differences, pixels))):
        error = float(values.std()) / samples**0.5 if samples > 1 else None
        metrics.measured[name] = Metric(value=float(values.mean()), samples=samples, error=error)


def _distances(metrics: Metrics, inputs: MetricInputs, moments: Moments, reference: Reference, small_fid: bool) -> None:
    fake, real, count = inputs.images.features, reference.test.features, inputs.compared
    assert fake is not None
    assert real is not None
    assert reference.train.features is not None
    if count < 2 * BLOCKS:
        why = f"needs at least {2 * BLOCKS} fakes and as many real images, has {count}"
        metrics.skip(why, "fid", "fid_per_trace", "kid")
        return
    if count >= MIN_FID_SAMPLES or small_fid:
        real_gaussian = Moments(moments.about).add(real[:count]).gaussian()
        distance = frechet_distance(moments.gaussian(), real_gaussian)
        metrics.measured["fid"] = Metric(value=distance, samples=count)
        metrics.measured["fid_per_trace"] = Metric(value=distance / float(real_gaussian[1].trace()), samples=count)
    else:
        why = (
            f"on {count:,} samples, fewer than {MIN_FID_SAMPLES:,}, FID is mostly bias. Pass --small-fid to compute it "
            "anyway"
        )
        metrics.skip(why, "fid", "fid_per_trace")
    standardise = Standardiser(reference.train.features)
    distance, error = kernel_distance(fake[:count], real[:count], standardise)
    metrics.measured["kid"] = Metric(value=distance, samples=count, error=error)


def _overlap(metrics: Metrics, inputs: MetricInputs, reference: Reference) -> None:
    fake, real, count = inputs.images.features, reference.test.features, inputs.compared
    assert fake is not None
    assert real is not None
    names = ("precision", "recall", "density", "coverage")
    if count <= K:
        metrics.skip(f"needs more than {K} fakes and as many real images, has {count}", *names)
        return
    found = overlap(fake[:count], real[:count])
    metrics.measured |= {name: Metric(value=getattr(found, name), samples=count) for name in names}


def _data_copying(metrics: Metrics, inputs: MetricInputs, reference: Reference) -> None:
    assert inputs.nearest is not None
    assert reference.held_out_distances is not None
    found, samples = data_copying(inputs.nearest, reference.copying_baseline), len(inputs.nearest)
    metrics.measured["copies"] = Metric(value=found.share, samples=samples)
    metrics.measured["copying_z"] = Metric(value=found.z, samples=samples)


def _classes(metrics: Metrics, inputs: MetricInputs, reference: Reference, predicted: Tensor) -> None:
    assert reference.counts is not None
    assert inputs.images.confidence is not None
    classes, samples = reference.classes, len(predicted)
    counts = histogram(predicted, classes)
    found: dict[str, float | list[float]] = {
        "modes": float(modes(counts, reference.counts, reference.min_class_share)),
        "kl": kl_to_real(counts, reference.counts),
        "histogram": (counts.double() / samples).tolist(),
        "confidence": float(inputs.images.confidence.double().mean()),
    }
    if inputs.requested is None:
        metrics.skip("the generator is not conditional", "agreement", "agreement_by_class")
    elif len(inputs.requested.unique()) < classes:
        metrics.skip(f"{samples:,} samples do not cover all {classes} classes", "agreement", "agreement_by_class")
    else:
        found["agreement"], found["agreement_by_class"] = agreement(predicted, inputs.requested, classes)
    metrics.measured |= {name: Metric(value=value, samples=samples) for name, value in found.items()}
