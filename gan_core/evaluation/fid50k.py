"""The protocol `fid50k`: FID and KID of 50,000 samples against the whole training split, as in most papers.

FID compares the mean and the unbiased covariance of the samples' features with those of all training images (Heusel et
al. 2017, equation 6). KID is the mean of unbiased estimates over blocks of 1,000 samples and as many training images,
on the features as they are (Bińkowski et al. 2018, section 4). No image is held out, so neither of them notices a
generator that repeats the training images.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial

import torch
from accelerate import Accelerator
from rich.console import Console
from torch import Tensor

from gan_core.evaluation.embed import Blocks, embed
from gan_core.evaluation.evaluation import Evaluation
from gan_core.evaluation.frechet import Moments, frechet_distance
from gan_core.evaluation.kernel import block_distances, block_size, mean_and_error
from gan_core.evaluation.metrics import MIN_FID_SAMPLES, Metric, Metrics
from gan_core.evaluation.protocol import FID50K, protocol
from gan_core.evaluation.source import Source, drawn_blocks, real_blocks
from gan_core.features.real_data import RealData
from gan_core.features.space import FeatureSpace, unreliable
from gan_core.sampling.given import BLOCK

SAMPLES = 50_000
ROUND = 16_000
"""How many images of each set are embedded at a time: only sums are kept of them, so memory does not grow with their
number. A multiple of 64, the images that are embedded together, and of 1,000, those of a block of KID."""
_ROWS = 1000
"""How many features are converted to float64 at a time."""


@dataclass
class _Set:
    """Images and their statistics, which are added round by round, on the main process.

    Attributes:
        what: Their name in the progress display.
        blocks: Yields them.
        count: Their number.
        digests: A hash of each image's pixels, (N,) int64.
        moments: The sums of their features, once the first are added.
        distances: The distances of KID's blocks to as many training images.
    """

    what: str
    blocks: Blocks
    count: int
    digests: list[Tensor] = field(default_factory=list)
    moments: Moments | None = None
    distances: list[float] = field(default_factory=list)

    def embed(self, first: int, space: FeatureSpace, accelerator: Accelerator, console: Console) -> Tensor | None:
        """Returns the features (n, d) of the images from `first` on, one round at most; None after the last image."""
        if first >= self.count:
            return None
        size, skipped = min(ROUND, self.count - first), first // BLOCK
        found = embed(
            lambda numbers: self.blocks(range(numbers.start + skipped, numbers.stop + skipped)),
            size,
            space,
            accelerator,
            what=f"embedding {self.what} {first + 1:,} to {first + size:,} of {self.count:,}",
            console=console,
        )
        self.digests.append(found.digests)
        return found.features

    def add(self, features: Tensor, about: Tensor) -> None:
        """Adds features (n, d) to the moments about a mean (d,)."""
        self.moments = self.moments or Moments(about)
        for rows in features.split(_ROWS):
            self.moments.add(rows)


def evaluate_fid50k(
    source: Source,
    data: RealData,
    features: str,
    space: FeatureSpace,
    accelerator: Accelerator,
    console: Console,
    count: int = SAMPLES,
) -> Evaluation | None:
    """Evaluates images 0 to count - 1 of a source against the training split. Every process must call it.

    Sample i has the label of the i-th training image in a fixed random order. The real images' own score (the floor) is
    that of the test split against the training split; without a test split there is none.

    Args:
        source: The generator.
        data: The real images.
        features: The feature space's name.
        space: The feature space.
        accelerator: This run's processes.
        console: Shows progress.
        count: The number of images to draw, at least 20.

    Returns:
        The evaluation on the main process, None on the others.
    """
    labels = data.whole.labels if source.classes else None
    source.prepare()
    train = _Set("training images", partial(real_blocks, data.whole), len(data.whole))
    fakes = _Set("samples", partial(drawn_blocks, source, labels), count)
    has_test = "test" in data.dataset.splits
    test = [_Set("test images", partial(real_blocks, data.test), len(data.test))] if has_test else []
    _embed_all(train, [fakes, *test], space, accelerator, console)
    if not accelerator.is_main_process:
        return None
    return Evaluation(
        protocol=protocol(FID50K, data, features, space, samples=count, compared=train.count),
        fakes=_measure(fakes, train, 0),
        floor=_measure(test[0], train, MIN_FID_SAMPLES) if test else Metrics(),
        notes=_notes(fakes, train, *test),
        unreliable=unreliable(space),
        closest=None,
    )


def _embed_all(
    train: _Set, others: Sequence[_Set], space: FeatureSpace, accelerator: Accelerator, console: Console
) -> None:
    """Embeds all images and, on the main process, compares the others with the training images."""
    about: Tensor | None = None
    for first in range(0, max(each.count for each in (train, *others)), ROUND):
        real = train.embed(first, space, accelerator, console)
        found = [(each, each.embed(first, space, accelerator, console)) for each in others]
        if not accelerator.is_main_process:
            continue
        if about is None:
            assert real is not None
            about = real.mean(0)
        for each, features in [(train, real), *found]:
            if features is not None:
                each.add(features, about)
            if features is not None and real is not None and each is not train:
                each.distances += block_distances(features, real, block_size(min(each.count, train.count)))


def _measure(images: _Set, train: _Set, min_fid: int) -> Metrics:
    """Compares images with the training images; FID only on at least `min_fid` images."""
    assert images.moments is not None
    assert train.moments is not None
    found = Metrics()
    if images.count >= min_fid:
        distance = frechet_distance(images.moments.gaussian(), train.moments.gaussian())
        found.measured["fid50k"] = Metric(value=distance, samples=images.count)
    distance, error = mean_and_error(images.distances)
    size = block_size(min(images.count, train.count))
    found.measured["kid50k"] = Metric(value=distance, samples=len(images.distances) * size, error=error)
    unique = len(torch.cat(images.digests).unique()) / images.count
    found.measured["unique"] = Metric(value=unique, samples=images.count)
    return found


def _notes(fakes: _Set, train: _Set, test: _Set | None = None) -> tuple[str, ...]:
    against = f"All {train.count:,} training images are compared with the samples; none is held out."
    if test is None:
        return (against, "There is no test split, so real images have no score of their own.")
    floor = f"The real images' own score is that of the {test.count:,} test images against the training images."
    if test.count < MIN_FID_SAMPLES:
        return (against, f"{floor} Their FID is not computed: on fewer than {MIN_FID_SAMPLES:,} it is mostly bias.")
    if test.count < fakes.count:
        floor += f" FID grows with fewer images: on {fakes.count:,} it would be lower. KID does not."
    return (against, floor)
