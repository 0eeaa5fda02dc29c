"""The variant under test, with the first small data shape that it supports."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch

from gan_core.data.dataset import ResidentImages
from gan_core.errors import UserError
from gan_core.game.data_spec import DataSpec
from gan_core.game.game import Game
from gan_core.plugins.load import LoadedVariant, load_variant
from gan_core.randomness import Share, Streams
from gan_core.training.batch_source import BatchSource

SHAPES = ((8, 1), (8, 3), (16, 1), (28, 1), (32, 3), (64, 3))
"""The (image size, channels) that are tried in order; a variant must support at least one."""

BATCH = 8
"""Images in a batch of the checks."""


@dataclass(frozen=True)
class Subject:
    """A loaded variant, and the data set that the checks use.

    Attributes:
        loaded: The variant.
        data: A data set that it supports.
    """

    loaded: LoadedVariant
    data: DataSpec

    def build(self, data: DataSpec | None = None) -> Game:
        """Builds the game with default options and the same initial weights in each call.

        Args:
            data: The data set; the subject's own if None.
        """
        Streams(0).seed_modules("initial weights", 0, 0)
        return self.loaded.build(None, data or self.data)

    def batch_source(self, game: Game, *, labels: bool = True) -> BatchSource:
        """Returns a source of float32 CPU batches of random images, for one process.

        Args:
            game: The game that the batches are for.
            labels: Whether the images have labels.
        """
        data, count = self.data, 4 * BATCH
        random = torch.Generator().manual_seed(0)
        shape = (count, data.channels, data.image_size, data.image_size)
        pixels = torch.randint(256, shape, dtype=torch.uint8, generator=random)
        images = ResidentImages(pixels, torch.arange(count) % data.classes if labels else None)
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


def find_subject(name: str) -> Subject:
    """Loads a variant, and selects the first of `SHAPES` that it supports.

    Raises:
        UserError: The variant cannot be loaded, or supports none of `SHAPES`.
    """
    loaded = load_variant(name)
    first = next(accepted_shapes(loaded), None)
    if first is None:
        raise UserError(f"{loaded.plugin.label} supports none of these image sizes and channels: {SHAPES}")
    return Subject(loaded, first)


def accepted_shapes(loaded: LoadedVariant) -> Iterator[DataSpec]:
    """Yields those of `SHAPES` for which the variant builds a game; for the others it must raise ValueError."""
    for size, channels in SHAPES:
        data = DataSpec(name="digits", image_size=size, channels=channels, classes=10, count=1500)
        try:
            loaded.build(None, data)
        except UserError:
            continue
        yield data
