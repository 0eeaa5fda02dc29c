"""Samples that depend only on the weights, the seed and the sample's number."""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager
from copy import deepcopy

import torch
from torch import Tensor

from gan_core.data.dataset import RealRows
from gan_core.errors import UserError
from gan_core.game.batch import Inputs
from gan_core.game.data_spec import DataSpec
from gan_core.game.game import Game
from gan_core.game.output import Request
from gan_core.game.phase import Networks
from gan_core.game.variant import Options
from gan_core.randomness import Streams
from gan_core.row_randomness import Draws, LayerRandomness, layers_draw
from gan_core.sampling.given import BLOCK, GivenRows, given_images, output_named
from gan_core.transfer import place


class Sampler:
    """Samples images of one output from a game's averaged networks (EMA)."""

    def __init__(
        self,
        game: Game,
        data: DataSpec,
        networks: Networks,
        seed: int,
        device: torch.device,
        dtype: torch.dtype,
        *,
        output: str | None = None,
        options: Options | None = None,
        rows: Mapping[str, GivenRows] | None = None,
    ) -> None:
        """Stores what samples are drawn from.

        Args:
            game: The game.
            data: The properties of the data that it was built for.
            networks: The networks that `game.ema` names, in eval mode, on `device` with dtype `dtype`.
            seed: Seed of the samples.
            device: The networks' device.
            dtype: Their floating-point type.
            output: The output's name; None is the first one.
            options: The sampling options.
            rows: The rows for each image field that the output is given.
        """
        self.game, self.data, self.networks, self.streams = game, data, networks, Streams(seed)
        self.device, self.dtype, self.options = device, dtype, options
        self.name, self.output = output_named(game, output)
        self.rows = dict(rows or {})
        self._given = given_images(self.output, data.fields)
        self._prepared = networks

    @property
    def classes(self) -> int:
        """The number of classes that can be requested; 0 where the output is given no labels."""
        return self.data.classes if "labels" in self.output.given else 0

    @property
    def given(self) -> int:
        """The number of rows of images that are given; 0 where the output is given none."""
        return min(map(len, self.rows.values()), default=0)

    @property
    def images_given(self) -> tuple[str, ...]:
        """The image fields that the output is given: what it is made from."""
        return tuple(self._given)

    @property
    def prepared(self) -> Networks:
        """The networks that draw, as `prepare` has left them."""
        return self._prepared

    def labels(self, count: int, label: int | None = None) -> Tensor | None:
        """Returns labels (count,) int64: `label`, or all classes in rotation; None if no labels are given."""
        if not self.classes:
            return None
        return torch.arange(count) % self.classes if label is None else torch.full((count,), label)

    def prepare(self) -> None:
        """Calls the game's `prepare`; call it before blocks are drawn from networks that may have changed.

        The result is the same on every process.
        """
        if self.game.prepare is None:
            return
        self._prepared = {name: deepcopy(network) for name, network in self.networks.items()}
        self.streams.seed_modules("modules in prepare", 0, 0)
        with torch.no_grad(), self._layers("prepare", 0):
            self.game.prepare(self._prepared, self.streams.at("prepare", 0), self.options)
        for network in self._prepared.values():
            network.eval()

    def _layers(self, what: str, position: int) -> AbstractContextManager[None]:
        return layers_draw(LayerRandomness(Draws(self.streams, f"layers in {what}", position, slice(0, 1))))

    def generated(
        self, number: int, labels: Tensor | None, *, rows: RealRows | None = None, grid: int = 0, count: int = BLOCK
    ) -> dict[str, Tensor]:
        """Returns what `generate` returns for samples 64 `number` and on: images (B, C, H, W) in [-1, 1] by name.

        Args:
            number: The block's number.
            labels: Labels (count,) int64, or None if none are given.
            rows: The given images (count, C, H, W) uint8, by field; by default those of the sampler's rows.
            grid: Rows of the grid in which they are shown, or 0.
            count: Number of samples; another number than 64 draws other ones.
        """
        return self.images(self.inputs(number, labels, rows=rows, grid=grid, count=count), number)

    def inputs(
        self, number: int, labels: Tensor | None, *, rows: RealRows | None = None, grid: int = 0, count: int = BLOCK
    ) -> Inputs:
        """Returns the generator's inputs for samples 64 `number` and on, on the CPU; see `generated`."""
        request = self.request(number, labels, rows=rows, grid=grid, count=count)
        return self.game.draw(self.streams.at("samples", number), request)

    @torch.no_grad()
    def images(self, inputs: Inputs, number: int) -> dict[str, Tensor]:
        """Returns what `generate` returns for these inputs, with the random numbers of block `number` in modules."""
        self.streams.seed_modules("modules in samples", number, 0)  # For generators with random layers.
        with self._layers("samples", number):
            images = self.output.generate(self._prepared, place(inputs, self.device, self.dtype), self.options)
        return dict(images) if isinstance(images, Mapping) else {self.name: images}

    def request(
        self, number: int, labels: Tensor | None, *, rows: RealRows | None = None, grid: int = 0, count: int = BLOCK
    ) -> Request:
        """Returns what `draw` is asked for; see `generated`."""
        rows = self._rows(number) if rows is None else rows
        given: dict[str, Tensor] = {} if labels is None else {"labels": labels}
        for name in self._given:
            given[name] = rows[name][:count].to(torch.float32).div(127.5).sub(1.0)
        return Request(count=count, given=given, first=number * BLOCK, grid=grid, options=self.options)

    def drawn(self, number: int, labels: Tensor | None, grid: int = 0) -> dict[str, Tensor]:
        """Returns samples 64 `number` to 64 `number` + 63 with the given images: (64, C, H, W) uint8 on the CPU.

        By name: the fields of the given rows, one of which may be the target of the output, and what `generate`
        returns.
        """
        rows = self._rows(number)
        images = self.generated(number, labels, rows=rows, grid=grid)
        return dict(rows) | {name: quantised(image) for name, image in images.items()}

    def targets(self, number: int) -> Tensor | None:
        """Returns the target of each sample of a block, (64, C, H, W) uint8, if the given rows have one."""
        return self._rows(number).get(self.output.like)

    def _rows(self, number: int) -> dict[str, Tensor]:
        return {key: column for name in self._given for key, column in self.rows[name].block(number).items()}

    def block(self, number: int, labels: Tensor | None) -> Tensor:
        """Returns samples 64 `number` to 64 `number` + 63 for labels (64,) int64: (64, C, H, W) uint8 on the CPU."""
        return quantised(self.generated(number, labels)[self.name])

    def check(self) -> None:
        """Draws two samples, from black images where images are given.

        Raises:
            UserError: They are no images of the shape of `Output.like`.
        """
        fields = {name: self.data.image(name) for name in self._given}
        rows = {name: torch.zeros(2, *field.shape, dtype=torch.uint8) for name, field in fields.items()}
        found = self.generated(0, self.labels(2), rows=rows, count=2)
        images, shape = found.get(self.name), (2, *self.data.image(self.output.like).shape)
        what = f"`generate` of the output {self.name!r} returned"
        if not isinstance(images, Tensor) or not images.is_floating_point():
            kind = f"a tensor of {images.dtype}" if isinstance(images, Tensor) else type(images).__name__
            raise UserError(f"{what} {kind}, but must return images: a tensor of floating-point numbers")
        if tuple(images.shape) != shape:
            raise UserError(f"{what} the shape {tuple(images.shape)} for 2 images, but must return {shape}")

    def draw(self, count: int, label: int | None = None) -> Iterator[Tensor]:
        """Yields samples 0 to count - 1 in blocks: (up to 64, C, H, W) uint8 on the CPU."""
        self.prepare()
        for first in range(0, count, BLOCK):
            labels = self.labels(first + BLOCK, label)
            yield self.block(first // BLOCK, None if labels is None else labels[first:])[: count - first]

    def shown(self, count: int, names: Iterable[str], grid: int, label: int | None = None) -> dict[str, Tensor]:
        """Returns the images `names` of samples 0 to count - 1 for a grid of `grid` rows, as `drawn` does.

        Without those that the given rows do not have: a folder of images to translate has no targets.
        """
        self.prepare()
        labels = self.labels(-(-count // BLOCK) * BLOCK, label)
        blocks = [
            self.drawn(first // BLOCK, None if labels is None else labels[first : first + BLOCK], grid)
            for first in range(0, count, BLOCK)
        ]
        return {name: torch.cat([block[name] for block in blocks])[:count] for name in names if name in blocks[0]}

    def draw_all(self, count: int, label: int | None = None) -> Tensor:
        """Returns samples 0 to count - 1 in one tensor: (count, C, H, W) uint8 on the CPU."""
        return torch.cat(list(self.draw(count, label)))


def quantised(images: Tensor) -> Tensor:
    """Returns images in [-1, 1] as uint8 on the CPU."""
    return images.add(1.0).mul(127.5).round().clamp(0, 255).to(torch.uint8).cpu()
