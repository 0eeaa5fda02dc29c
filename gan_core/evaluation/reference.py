"""The real images of an evaluation: embedded once, and compared with any number of generators."""

from dataclasses import dataclass
from functools import cached_property, partial

import torch
from accelerate import Accelerator
from accelerate.utils import broadcast
from rich.console import Console
from torch import Tensor

from gan_core.errors import UserError
from gan_core.evaluation.embed import Embedded, embed
from gan_core.evaluation.neighbours import nearest
from gan_core.evaluation.source import real_blocks
from gan_core.features.load import LoadedFeatures
from gan_core.features.real_data import RealData, Subset
from gan_core.features.space import FeatureSpace, SpaceUnavailableError
from gan_core.sampling.given import BLOCK

_MAX_TRAINING_IMAGES = 50_000
"""The maximum number of training images that are searched for a fake's nearest neighbour."""


@dataclass(frozen=True, kw_only=True)
class Reference:
    """Real images in a feature space. Only the main process has their embeddings; those of the others are empty.

    Attributes:
        data: The images.
        name: The feature space's name.
        space: The feature space, or None if it is not available.
        missing: Why the space is not available, or "".
        train: Up to 50,000 images that the generator was trained on.
        held_out: A fold of the training split that no sample is compared with. Its metrics, computed as if it were a
            generator's samples, are the real images' own score (the floor).
        test: The images that samples are compared with.
        counts: The number of images of each class in the training split, (K,) int64, or None without labels.
        about: The mean of the features of `test`, (d,), on every process; None without features.
        held_out_distances: Distances of the fold to the nearest image of `train`, (N,) float64, on the main process;
            None on the others and without features. Fakes, and for the floor the second half, are compared with the
            first half.
    """

    data: RealData
    name: str
    space: FeatureSpace | None
    missing: str
    train: Embedded
    held_out: Embedded
    test: Embedded
    counts: Tensor | None
    about: Tensor | None
    held_out_distances: Tensor | None

    @property
    def copying_baseline(self) -> Tensor:
        """The first half of `held_out_distances`, which the distances of possible copies are compared with."""
        assert self.held_out_distances is not None
        return self.held_out_distances[: len(self.held_out_distances) // 2]

    @property
    def copying_floor(self) -> Tensor | None:
        """The second half of `held_out_distances`, compared with the first for the floor; None without features."""
        return None if self.held_out_distances is None else self.held_out_distances[len(self.copying_baseline) :]

    @cached_property
    def mean_image(self) -> Tensor:
        """The mean of up to 50,000 training images, rounded: (C, H, W) uint8 on the CPU."""
        count = min(len(self.data.train), _MAX_TRAINING_IMAGES)
        blocks = [list(range(first, min(first + BLOCK, count))) for first in range(0, count, BLOCK)]
        total = sum(images.sum(0, dtype=torch.int64).cpu() for images, _ in self.data.train.batches(blocks))
        return (torch.as_tensor(total).double() / count).round().to(torch.uint8)

    @property
    def min_class_share(self) -> float:
        """The `min_share` of `modes`: the share of a class among samples that counts, over its share of real images.

        For Stacked-MNIST with its 1,000 classes one sample is enough (Metz et al. 2017), so it is 0. With ten classes,
        a classifier finds single samples of a class by mistake, so it is 0.1.
        """
        return 0.0 if self.data.dataset.channel is not None else 0.1

    @property
    def classes(self) -> int:
        """The number of classes of the data set."""
        return self.data.dataset.spec.classes


def open_reference(
    loaded: LoadedFeatures, name: str, data: RealData, accelerator: Accelerator, console: Console
) -> Reference:
    """Opens the feature space called `name` and embeds the real images.

    If the space is not available, the reference has the reason in `missing`. Every process must call it.

    Raises:
        UserError: The feature space does not support this data.
    """
    space: FeatureSpace | str
    try:
        space = loaded.open(data, accelerator, console)
    except SpaceUnavailableError as error:
        space = str(error)
    return make_reference(data, name, space, accelerator, console)


def make_reference(
    data: RealData, name: str, space: FeatureSpace | str, accelerator: Accelerator, console: Console
) -> Reference:
    """Embeds the real images. Every process must call it.

    Args:
        data: The images.
        name: The feature space's name.
        space: The feature space, or the reason why it is not available.
        accelerator: This run's processes.
        console: Shows progress.

    Raises:
        UserError: The feature space predicts a different number of classes than the data set has.
    """
    opened = None if isinstance(space, str) else space

    def embedded(images: Subset, what: str) -> Embedded:
        count = min(len(images), _MAX_TRAINING_IMAGES)
        return embed(partial(real_blocks, images), count, opened, accelerator, what=what, console=console)

    classes = data.dataset.spec.classes
    if opened is not None:
        first = next(iter(data.test.batches([[0]])))[0]
        predicted = opened(first).probabilities
        if predicted is not None and predicted.shape[1] != classes:
            raise UserError(
                f"features: {name!r} predicts {predicted.shape[1]} classes, but {data.dataset.spec.name!r} has "
                f"{classes}"
            )
    train = embedded(data.train, "embedding training images")
    held_out = embedded(data.held_out, "embedding held-out images")
    test = embedded(data.test, "embedding test images")
    labels = data.read("train").labels
    return Reference(
        data=data,
        name=name,
        space=opened,
        missing=space if isinstance(space, str) else "",
        train=train,
        held_out=held_out,
        test=test,
        counts=None if labels is None else torch.bincount(labels.cpu(), minlength=classes),
        about=None if test.features is None else _mean(test.features, accelerator),
        held_out_distances=_distances(held_out, train) if accelerator.is_main_process else None,
    )


def _mean(features: Tensor, accelerator: Accelerator) -> Tensor:
    """Returns the mean (d,) of the main process's features on every process."""
    mean: Tensor = broadcast(features.mean(0) if accelerator.is_main_process else features.new_empty(features.shape[1]))
    return mean


def _distances(queries: Embedded, references: Embedded) -> Tensor | None:
    if queries.features is None or references.features is None:
        return None
    return nearest(queries.features, references.features)[0].cpu()
