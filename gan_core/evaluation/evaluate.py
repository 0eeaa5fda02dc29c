"""Judging a source of images, on any number of processes with the same result."""

from collections.abc import Callable, Iterator
from typing import Any

import torch
from accelerate import Accelerator
from rich.console import Console
from torch import Tensor

from gan_core.evaluation.classes import kl_of_chance
from gan_core.evaluation.embed import embed
from gan_core.evaluation.evaluation import Evaluation
from gan_core.evaluation.frechet import Moments
from gan_core.evaluation.gan_train import gan_train
from gan_core.evaluation.manifold import K
from gan_core.evaluation.metrics import Measured, Subject, measure
from gan_core.evaluation.neighbours import nearest
from gan_core.evaluation.reference import Reference
from gan_core.evaluation.source import Source
from gan_core.sampling.sampler import BLOCK
from gan_core.version import __version__

_PAIRS = 16
_COMPARED = 10_000
"""Samples, at most, that are compared with real ones: the field's number, and time grows with its square."""


def evaluate(
    source: Source,
    count: int,
    reference: Reference,
    accelerator: Accelerator,
    console: Console,
    *,
    small_fid: bool = False,
    with_gan_train: bool = False,
) -> Evaluation | None:
    """Judges images 0 to count - 1 of a source. Every process must call it.

    Sample i has the label of the i-th training image in an order of chance, so that classes are as frequent as the
    generator learnt them. FID, KID and the overlap compare equally many fakes and reals, up to 10,000: where the test
    split or the held-out fold is smaller, all are cut to it, and a note says so.

    Args:
        source: The generator.
        count: How many images to draw.
        reference: The real side.
        accelerator: This run's processes.
        console: Where progress is shown.
        small_fid: Compute FID also on fewer than 2,000 images.
        with_gan_train: Also train a classifier on the samples (GAN-train).

    Returns:
        What was found, on the main process; None on the others.
    """
    compared = min(count, _COMPARED, len(reference.held_out.digests))  # The test split is never smaller.
    labels = reference.data.train.labels if source.classes else None

    def draw(numbers: range) -> Iterator[Tensor]:
        return (source.block(number, _of_block(labels, number)) for number in numbers)

    moments = None if reference.test.features is None else Moments(reference.test.features.mean(0))
    what = f"drawing and embedding {count:,} samples"
    fakes = embed(
        draw, count, reference.space, accelerator, what=what, console=console, moments=moments, within=compared
    )
    if not accelerator.is_main_process:
        return None

    asked = None if labels is None else labels[torch.arange(count) % len(labels)]
    distances, closest = None, None
    if fakes.features is not None:
        distances, where = _nearest(fakes.features[:compared], reference)
        closest = _pairs(distances, where, draw, reference)
    subject = Subject(images=fakes, compared=compared, moments=moments, asked=asked, nearest=distances)
    found = measure(subject, reference, small_fid=small_fid)
    floor = measure(_in_place(reference, subject, count), reference, small_fid=small_fid)
    if with_gan_train and asked is None:
        found.skip("the generator is not conditional", "gan_train")
    elif with_gan_train:
        assert asked is not None
        images = torch.cat(list(draw(range(-(-count // BLOCK)))))[:count]
        fake, real = gan_train(images, asked, reference.data, console)
        found.measured["gan_train"] = Measured(value=fake, samples=count)
        floor.measured["gan_train"] = Measured(value=real, samples=min(count, len(reference.data.train)))
    return Evaluation(
        protocol=_protocol(reference, count, compared),
        fakes=found,
        floor=floor,
        notes=_notes(reference, count, compared),
        closest=closest,
    )


def _of_block(labels: Tensor | None, number: int) -> Tensor | None:
    """Returns the labels of one block's samples: those of the training images, again and again."""
    return None if labels is None else labels[torch.arange(number * BLOCK, (number + 1) * BLOCK) % len(labels)]


def _in_place(reference: Reference, subject: Subject, count: int) -> Subject:
    """Returns real images in the place of the fakes: as many of the held-out fold, or all of it."""
    fold, labels = reference.held_out.first(count), reference.data.held_out.labels
    moments = None
    if subject.moments is not None:
        assert fold.features is not None
        moments = Moments(subject.moments.about).add(fold.features[: subject.compared])
    return Subject(
        images=fold,
        compared=subject.compared,
        moments=moments,
        asked=None if subject.asked is None or labels is None else labels[:count],
        nearest=None if reference.fresh is None else reference.fresh[len(reference.fresh_half) :],
    )


def _nearest(features: Tensor, reference: Reference) -> tuple[Tensor, Tensor]:
    assert reference.train.features is not None
    distances, where = nearest(features, reference.train.features)
    return distances.cpu(), where.cpu()


def _pairs(distances: Tensor, where: Tensor, draw: Callable[[range], Iterator[Tensor]], reference: Reference) -> Tensor:
    """Returns the samples nearest to a training image, each followed by that image: (32, C, H, W) uint8."""
    closest = distances.argsort(stable=True)[:_PAIRS].tolist()
    fakes = [next(draw(range(at // BLOCK, at // BLOCK + 1)))[at % BLOCK] for at in closest]
    reals = next(iter(reference.data.train.batches([where[closest].tolist()])))[0].cpu()
    return torch.stack([image for pair in zip(fakes, reals, strict=True) for image in pair])


def _protocol(reference: Reference, count: int, compared: int) -> dict[str, Any]:
    spec, space = reference.data.dataset.spec, reference.space
    return {
        "dataset": spec.name,
        "image_size": spec.image_size,
        "channels": spec.channels,
        "data": reference.data.read("train").fingerprint,
        "samples": count,
        "compared": compared,
        "features": reference.name,
        "features_hash": None if space is None else space.fingerprint,
        "provenance": reference.missing if space is None else space.provenance,
        "k": K,
        "gan_core": __version__,
    }


def _notes(reference: Reference, count: int, compared: int) -> tuple[str, ...]:
    notes = []
    if compared < count:
        tested, held = len(reference.test.digests), len(reference.held_out.digests)
        notes.append(
            f"{compared:,} of {count:,} samples are compared with as many real images: the test split has {tested:,}, "
            f"the held-out fold {held:,}."
        )
    if len(reference.train.digests) < len(reference.data.train):
        few, all_ = len(reference.train.digests), len(reference.data.train)
        notes.append(f"Copies are looked for among {few:,} of {all_:,} training images.")
    if reference.classes:
        chance = kl_of_chance(reference.classes, count)
        notes.append(f"A perfect generator has a kl of {chance:.4f} on {count:,} samples, by chance alone.")
    return tuple(notes)
