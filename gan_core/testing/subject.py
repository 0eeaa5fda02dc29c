"""The variant under test, with the first small data shape that it supports."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import islice

import torch

from gan_core.data.dataset import Dataset
from gan_core.errors import UserError
from gan_core.game.data_spec import DataSpec
from gan_core.game.game import Game
from gan_core.game.variant import Options
from gan_core.plugins.load import LoadedVariant, load_variant
from gan_core.randomness import Share, Streams
from gan_core.settings.resolve import validated
from gan_core.testing.made_data import made_dataset
from gan_core.training.batch_source import BatchSource

SHAPES = ((8, 1), (8, 3), (16, 1), (28, 1), (32, 3), (64, 3))
"""The (image size, channels) that are tried in order; a variant must support at least one."""

BATCH = 8
"""Images in a batch of the checks."""


@dataclass(frozen=True)
class Subject:
    """A loaded variant with the options and the data set that the checks use.

    Attributes:
        loaded: The variant.
        options: Its options: `Variant.small`, and those that were asked for.
        image_size: Height and width of the images in pixels.
        channels: 1 (grey) or 3 (RGB).
        classes: Number of classes; 0 for no labels.
    """

    loaded: LoadedVariant
    options: Options
    image_size: int
    channels: int
    classes: int = 10

    @property
    def dataset(self) -> Dataset:
        """Random images with the fields that the variant needs."""
        return made_dataset(
            self.loaded.variant, image_size=self.image_size, channels=self.channels, classes=self.classes
        )

    @property
    def data(self) -> DataSpec:
        """The properties of the data set."""
        return self.dataset.spec

    def build(self) -> Game:
        """Builds the game with the same initial weights in each call."""
        Streams(0).seed_modules("initial weights", 0, 0)
        return self.loaded.build(self.options, self.data)

    def on(self, **changes: int) -> "Subject":
        """Returns the variant on images of another `image_size`, other `channels` or other `classes`."""
        return replace(self, **changes)  # type: ignore[arg-type]  # They are the fields that are integers.

    def accepts(self) -> bool:
        """Returns whether the variant builds a game for the data; if not, it must raise ValueError."""
        try:
            self.build()
        except UserError:
            return False
        return True

    def batch_source(self, game: Game) -> BatchSource:
        """Returns a source of float32 CPU batches of random images, for one process.

        Args:
            game: The game that the batches are for.
        """
        dataset = self.dataset
        return BatchSource(
            game=game,
            data=dataset.spec,
            tables={name: dataset.read(name, "train") for name in dataset.spec.tables},
            mirror=False,
            batch=BATCH,
            accumulate=1,
            length=100 * BATCH,
            seed=0,
            share=Share(0, 1),
            device=torch.device("cpu"),
            dtype=torch.float32,
        )

    def shapes(self) -> "Iterator[Subject]":
        """Yields the variant on those of `SHAPES` that it accepts."""
        for size, channels in SHAPES:
            if (other := self.on(image_size=size, channels=channels)).accepts():
                yield other

    def smallest(self) -> "Iterator[Subject]":
        """Yields the variant on the smallest images that it accepts, and on the next larger ones."""
        sizes = (self.on(image_size=size) for size in range(4, SHAPES[-1][0] + 1))
        return islice((other for other in sizes if other.accepts()), 2)


def find_subject(name: str, options: Mapping[str, object]) -> Subject:
    """Loads a variant, and selects the first of `SHAPES` that it supports.

    Args:
        name: The variant's name.
        options: Options that are not those of `Variant.small` or the defaults.

    Raises:
        UserError: The variant cannot be loaded, an option is not allowed, or it supports none of `SHAPES`.
    """
    loaded = load_variant(name)
    chosen = validated(loaded.variant.options, {**loaded.variant.small, **options}, what=f"option of {name}")
    first = next(Subject(loaded, chosen, *SHAPES[0]).shapes(), None)
    if first is None:
        raise UserError(f"{loaded.plugin.label} supports none of these image sizes and channels: {SHAPES}")
    return first
