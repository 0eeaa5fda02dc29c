"""The real side of an evaluation: embedded once, and compared with any number of generators."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from accelerate import Accelerator
from rich.console import Console
from torch import Tensor

from gan_core.errors import UserError
from gan_core.evaluation.embed import Embedded, embed
from gan_core.evaluation.neighbours import nearest
from gan_core.features.load import LoadedFeatures
from gan_core.features.real_data import Part, RealData
from gan_core.features.space import FeatureSpace, SpaceUnavailableError
from gan_core.sampling.sampler import BLOCK

_NEIGHBOURS = 50_000
"""Training images, at most, among which a fake's nearest neighbour is looked for."""


@dataclass(frozen=True, kw_only=True)
class Reference:
    """Real images in a feature space.

    Attributes:
        data: The images.
        name: The feature space's name.
        space: The feature space, or None where it cannot be had.
        missing: Why there is none, or "".
        train: Up to 50,000 of what generators learnt from.
        held_out: The fold of it that nothing is compared with. In the place of a generator's samples, it tells the
            floor of every metric.
        test: What samples are compared with.
        counts: How many images of each class the training split has, (K,) int64, or None where it has no labels.
        fresh: Distances of the fold to the nearest image of `train`, (N,) float64, or None without features. The first
            half says what is near; the second half is measured by it as fakes are, for the floor.
    """

    data: RealData
    name: str
    space: FeatureSpace | None
    missing: str
    train: Embedded
    held_out: Embedded
    test: Embedded
    counts: Tensor | None
    fresh: Tensor | None

    @property
    def fresh_half(self) -> Tensor:
        """The half of `fresh` by which copies are told."""
        assert self.fresh is not None
        return self.fresh[: len(self.fresh) // 2]

    @property
    def least_share(self) -> float:
        """How often a class must be drawn to count, as a share of how often it is real.

        In Stacked-MNIST, with its thousand classes, one sample is enough (Metz et al. 2017); of ten classes a
        classifier finds one by mistake.
        """
        return 0.0 if self.data.dataset.channel is not None else 0.1

    @property
    def classes(self) -> int:
        """How many classes the data set has."""
        return self.data.dataset.spec.classes


def open_reference(
    loaded: LoadedFeatures, name: str, data: RealData, accelerator: Accelerator, console: Console
) -> Reference:
    """Opens the feature space, called `name`, and embeds the real images; without it, the reason is kept.

    All processes must call.

    Raises:
        UserError: The feature space refuses this data.
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
    """Embeds the real images; instead of a feature space that cannot be had, give the reason. All processes must call.

    Raises:
        UserError: The feature space knows other classes than the data set has.
    """
    opened = None if isinstance(space, str) else space

    def embedded(part: Part, what: str) -> Embedded:
        count = min(len(part), _NEIGHBOURS)
        return embed(lambda mine: _blocks(part, mine), count, opened, accelerator, what=what, console=console)

    classes = data.dataset.spec.classes
    if opened is not None:
        first = next(iter(data.test.batches([[0]])))[0]
        known = opened(first).probabilities
        if known is not None and known.shape[1] != classes:
            raise UserError(
                f"features: {name!r} knows {known.shape[1]} classes, but {data.dataset.spec.name!r} has {classes}"
            )
    train, held_out = embedded(data.train, "embedding training images"), embedded(data.held_out, "held-out images")
    labels = data.read("train").labels
    return Reference(
        data=data,
        name=name,
        space=opened,
        missing=space if isinstance(space, str) else "",
        train=train,
        held_out=held_out,
        test=embedded(data.test, "test images"),
        counts=None if labels is None else torch.bincount(labels.cpu(), minlength=classes),
        fresh=None if held_out.features is None else _distances(held_out.features, train.features),
    )


def _distances(queries: Tensor, references: Tensor | None) -> Tensor:
    assert references is not None
    return nearest(queries, references)[0].cpu()


def _blocks(part: Part, numbers: range) -> Iterator[Tensor]:
    """Yields blocks of real images; beyond the last image it begins again."""
    places = [[place % len(part) for place in range(n * BLOCK, (n + 1) * BLOCK)] for n in numbers]
    return (images for images, _ in part.batches(places))
