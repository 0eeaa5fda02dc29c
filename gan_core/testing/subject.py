"""The variant under test, with the first small data shape that it supports."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any

import torch

from gan_core.data.dataset import ResidentImages
from gan_core.errors import UserError
from gan_core.game.data_spec import DataSpec
from gan_core.game.game import Game
from gan_core.game.variant import Options
from gan_core.plugins.load import LoadedVariant, load_variant
from gan_core.randomness import Share, Streams
from gan_core.settings.resolve import validated
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
        data: A data set that it supports.
    """

    loaded: LoadedVariant
    options: Options
    data: DataSpec

    def build(self) -> Game:
        """Builds the game with the same initial weights in each call."""
        Streams(0).seed_modules("initial weights", 0, 0)
        return self.loaded.build(self.options, self.data)

    def on(self, **changes: Any) -> "Subject":
        """Returns the variant on a data set that differs in these fields of `DataSpec`."""
        return replace(self, data=replace(self.data, **changes))

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
        data, count = self.data, 4 * BATCH
        random = torch.Generator().manual_seed(0)
        shape = (count, data.channels, data.image_size, data.image_size)
        pixels = torch.randint(256, shape, dtype=torch.uint8, generator=random)
        images = ResidentImages(pixels, torch.arange(count) % data.classes if data.classes else None)
        return BatchSource(
            game=game,
            images=images,
            count=count,
            batch=BATCH,
            accumulate=1,
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
    data = DataSpec(name="digits", image_size=8, channels=1, classes=10, count=1500)
    first = next(Subject(loaded, chosen, data).shapes(), None)
    if first is None:
        raise UserError(f"{loaded.plugin.label} supports none of these image sizes and channels: {SHAPES}")
    return first
