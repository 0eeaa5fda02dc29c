"""Evaluation of a source of images, with the same result on any number of processes."""

from collections.abc import Callable, Container, Iterator
from functools import partial

import torch
from accelerate import Accelerator
from rich.console import Console
from torch import Tensor

from gan_core.evaluation.classes import expected_kl
from gan_core.evaluation.embed import Embedded, embed
from gan_core.evaluation.evaluation import Evaluation
from gan_core.evaluation.frechet import Moments
from gan_core.evaluation.gan_train import gan_train
from gan_core.evaluation.manifold import K
from gan_core.evaluation.metrics import Metric, MetricInputs, measure
from gan_core.evaluation.neighbours import nearest
from gan_core.evaluation.protocol import STANDARD, protocol
from gan_core.evaluation.reference import Reference
from gan_core.evaluation.source import Source, drawn_blocks
from gan_core.evaluation.targets import differences, l1, psnr
from gan_core.features.space import unreliable
from gan_core.sampling.given import BLOCK

_CLOSEST_PAIRS = 16
_MAX_COMPARED = 10_000
"""The maximum number of samples compared with real images: the usual number; time grows with its square."""


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
    """Evaluates images 0 to count - 1 of a source. Every process must call it.

    Sample i has the label of the i-th training image in a fixed random order, so classes are as frequent as in
    training. FID, KID, precision, recall, density and coverage compare the same number of fakes and real images, at
    most 10,000. If the test split or the held-out fold is smaller, fewer are compared, and a note reports it.

    Args:
        source: The generator.
        count: The number of images to draw.
        reference: The real images in the feature space.
        accelerator: This run's processes.
        console: Shows progress.
        small_fid: Compute FID even on fewer than 2,000 images.
        with_gan_train: Also train a classifier on the samples (GAN-train).

    Returns:
        The evaluation on the main process, None on the others.
    """
    compared = min(count, _MAX_COMPARED, len(reference.data.held_out))  # The test split is at least as large.
    labels = reference.data.train.labels if source.classes else None
    source.prepare()
    draw = partial(drawn_blocks, source, labels)
    moments = None if reference.about is None else Moments(reference.about)
    what = f"drawing and embedding {count:,} samples"
    fakes = embed(
        draw,
        count,
        reference.space,
        accelerator,
        what=what,
        console=console,
        moments=moments,
        moments_count=compared,
        targets=source.targets,
    )
    if not accelerator.is_main_process:
        return None

    requested = None if labels is None else labels[torch.arange(count) % len(labels)]
    distances, closest = None, None
    if fakes.features is not None:
        distances, indices = _nearest(fakes.features[:compared], reference)
        closest = _pairs(distances, indices, draw, reference)
    inputs = MetricInputs(images=fakes, compared=compared, moments=moments, requested=requested, nearest=distances)
    found = measure(inputs, reference, small_fid=small_fid)
    floor = measure(_floor_inputs(reference, inputs, count), reference, small_fid=small_fid)
    if with_gan_train and requested is None:
        found.skip("the generator is not conditional", "gan_train")
    elif with_gan_train:
        assert requested is not None
        images = torch.cat(list(draw(range(-(-count // BLOCK)))))[:count]
        fake, real = gan_train(images, requested, reference.data, console)
        found.measured["gan_train"] = Metric(value=fake, samples=count)
        floor.measured["gan_train"] = Metric(value=real, samples=min(count, len(reference.data.train)))
    return Evaluation(
        protocol=protocol(
            STANDARD,
            reference.data,
            reference.name,
            reference.missing if reference.space is None else reference.space,
            samples=count,
            compared=compared,
            k=K,
        ),
        fakes=found,
        floor=floor,
        notes=(*_notes(reference, count, compared, found.measured), *_mean_image_notes(reference, source, fakes)),
        unreliable=unreliable(reference.space),
        closest=closest,
    )


def _floor_inputs(reference: Reference, inputs: MetricInputs, count: int) -> MetricInputs:
    """Returns the inputs of the floor: up to `count` held-out real images in place of the fakes."""
    fold, labels = reference.held_out.first(count), reference.data.held_out.labels
    moments = None
    if inputs.moments is not None:
        assert fold.features is not None
        moments = Moments(inputs.moments.about).add(fold.features[: inputs.compared])
    return MetricInputs(
        images=fold,
        compared=inputs.compared,
        moments=moments,
        requested=None if inputs.requested is None or labels is None else labels[:count],
        nearest=reference.copying_floor,
    )


def _nearest(features: Tensor, reference: Reference) -> tuple[Tensor, Tensor]:
    assert reference.train.features is not None
    distances, indices = nearest(features, reference.train.features)
    return distances.cpu(), indices.cpu()


def _pairs(
    distances: Tensor, indices: Tensor, draw: Callable[[range], Iterator[Tensor]], reference: Reference
) -> Tensor:
    """Returns the samples nearest to a training image, each followed by that image: (32, C, H, W) uint8."""
    closest = distances.argsort(stable=True)[:_CLOSEST_PAIRS].tolist()
    fakes = [next(draw(range(at // BLOCK, at // BLOCK + 1)))[at % BLOCK] for at in closest]
    reals = next(iter(reference.data.train.batches([indices[closest].tolist()])))[0].cpu()
    return torch.stack([image for pair in zip(fakes, reals, strict=True) for image in pair])


def _notes(reference: Reference, count: int, compared: int, measured: Container[str]) -> tuple[str, ...]:
    notes = [f"Metrics marked as unreliable: {doubt}."] if (doubt := unreliable(reference.space)) else []
    if compared < count:
        tested, held = len(reference.test.digests), len(reference.held_out.digests)
        notes.append(
            f"{compared:,} of {count:,} samples are compared with {compared:,} real images: the test split has "
            f"{tested:,}, the held-out fold {held:,}."
        )
    if len(reference.train.digests) < len(reference.data.train):
        searched, total = len(reference.train.digests), len(reference.data.train)
        notes.append(f"Copies are searched for among {searched:,} of {total:,} training images.")
    if reference.classes and "kl" in measured:
        expected = expected_kl(reference.classes, count)
        notes.append(f"The expected kl of a perfect generator is {expected:.4f} on {count:,} samples (sampling noise).")
    return tuple(notes)


def _mean_image_notes(reference: Reference, source: Source, fakes: Embedded) -> list[str]:
    """Says what the mean training image scores as every sample, and how much better the samples are than it."""
    if fakes.differences is None:
        return []
    count = len(fakes.differences)
    targets = [block for number in range(-(-count // BLOCK)) if (block := source.targets(number)) is not None]
    mean = reference.mean_image
    found, pixels = torch.cat([differences(mean.expand_as(block), block) for block in targets])[:count], mean.numel()
    note = (
        f"The mean training image, as every sample, has an L1 of {float(l1(found, pixels).mean()):.4g} and a PSNR of "
        f"{float(psnr(found, pixels).mean()):.4g}."
    )
    if count > 1:
        gained = l1(found, pixels) - l1(fakes.differences, pixels)
        error = float(gained.std()) / count**0.5
        note += f" Sample by sample, its L1 less that of the sample is {float(gained.mean()):.4f} ± {error:.4f}."
    return [note]
