"""The batches of every update, the same on any number of processes and after any resume."""

from collections.abc import Iterator, Mapping

import numpy as np
import torch
from torch import Tensor

from gan_core.data.dataset import RealRows, Rows
from gan_core.data.row_order import RowOrder
from gan_core.distributed.collectives import Collectives
from gan_core.game.batch import Moment
from gan_core.game.data_spec import DataSpec
from gan_core.game.game import Game
from gan_core.game.output import Request
from gan_core.game.phase import Phase
from gan_core.randomness import Share, Streams
from gan_core.row_randomness import Draws, UpdateRandomness
from gan_core.training.real_batch import RealBatch
from gan_core.training.shared_fakes import Made, MicroBatch
from gan_core.transfer import place


class _Drawn:
    """What was drawn for one update, by micro-batch."""

    def __init__(self, inputs: list[dict[str, Tensor]], made: list[Made]) -> None:
        self.inputs, self.made = inputs, made
        self._versions = self._current()

    def changed(self) -> bool:
        """Returns whether a loss has changed the inputs in place."""
        return self._current() != self._versions

    def _current(self) -> list[int]:
        return [tensor._version for inputs in self.inputs for tensor in inputs.values()]


class BatchSource:
    """Makes batches as functions of (seed, phase, images seen)."""

    def __init__(
        self,
        *,
        game: Game,
        data: DataSpec,
        tables: Mapping[str, Rows],
        mirror: bool,
        batch: int,
        accumulate: int,
        length: int,
        seed: int,
        share: Share,
        device: torch.device,
        dtype: torch.dtype,
    ) -> None:
        """Stores the data and how to split it into batches.

        Args:
            game: Names the phases and draws the generator's inputs.
            data: The properties of the data set.
            tables: The training split of each table.
            mirror: Whether to mirror half of the rows from left to right, all images of a row together.
            batch: Rows in a batch, over all processes.
            accumulate: Micro-batches in a batch.
            length: Images of the whole run.
            seed: Seed of the order of rows and of all random numbers.
            share: This process's share of a batch.
            device: The device of the batches.
            dtype: The floating-point type of the batches.
        """
        self.game, self.tables, self.mirror, self.batch, self.share = game, tables, mirror, batch, share
        self.device, self.dtype = device, dtype
        self.parts, self.streams = share.micro_batches(batch, accumulate), Streams(seed)
        self.orders = {name: RowOrder(self.streams, name, table.count) for name, table in data.tables.items()}
        self.step_images = batch * game.batches_per_step
        self.length, self.processes = length, Collectives(share)
        self._streams: dict[str, Iterator[RealRows]] = {}
        self._stream_position = -1
        self._shared = {phase.on for phase in game.phases}
        self._drawn: dict[tuple[str, int], _Drawn] = {}  # In this step, what several phases get.

    def step(self, images_seen: int) -> Iterator[tuple[Phase, list[MicroBatch]]]:
        """Yields (phase, micro-batches) for every update of the step that begins at `images_seen`.

        Advance the iterator only after the update is done: it reseeds torch's global generators for each update.
        """
        step = images_seen // self.step_images
        moment = Moment(images_seen=images_seen, progress=min(1.0, images_seen / self.length), batch=self.batch)
        real = self._real_batches(images_seen)
        self._drawn = {}
        for phase in self.game.phases:
            for repeat in range(phase.repeats if step % phase.every == 0 else 0):
                yield phase, self._micro_batches(phase, real[repeat], images_seen + repeat * self.batch, moment)

    def _micro_batches(self, phase: Phase, real: RealBatch, position: int, moment: Moment) -> list[MicroBatch]:
        """Returns the micro-batches of the update at `position` in the sequence of rows.

        Reseeds torch's global generators, from which modules may draw.
        """
        name = phase.on or phase.name  # Phases on one batch draw the same random numbers.
        self.streams.seed_modules(f"modules in {name}", position, self.share.rank)
        drawn = self._drawn.get((name, position))
        if drawn is None or drawn.changed():
            drawn = self._draw(phase, name, position)
            if name in self._shared:
                self._drawn[name, position] = drawn
        rows = real.rows()
        size = self.batch // self.share.world // len(self.parts)
        return [
            MicroBatch(
                real={field: column[number * size : (number + 1) * size] for field, column in rows.items()},
                inputs=drawn.inputs[number],
                random=UpdateRandomness(self._draws("loss of", name, position, part), self.device, self.dtype),
                moment=moment,
                processes=self.processes,
                made=drawn.made[number],
                draws=self._draws("layers in", name, position, part),
            )
            for number, part in enumerate(self.parts)
        ]

    def _draws(self, what: str, name: str, position: int, part: slice) -> Draws:
        return Draws(self.streams, f"{what} {name}", position, part)

    def _draw(self, phase: Phase, name: str, position: int) -> _Drawn:
        """Draws the inputs of an update."""
        inputs = []
        for part in self.parts:
            draws = self._draws("inputs of", name, position, slice(part.start * phase.fakes, part.stop * phase.fakes))
            drawn = draws.named(
                self.batch * phase.fakes,
                lambda random, first, count: self.game.draw(random, Request(count=count, first=first)),
            )
            inputs.append(place(drawn, self.device, self.dtype))
        made = [Made(draws=self._draws("layers in fakes of", name, position, part)) for part in self.parts]
        return _Drawn(inputs, made)

    def _real_batches(self, images_seen: int) -> list[RealBatch]:
        """Returns this process's real batches of one step; restarts the streams unless it follows the last one."""
        if self._stream_position != images_seen:
            self._streams = {
                name: rows.batches(self.orders[name].batches(images_seen, self.batch, self.parts))
                for name, rows in self.tables.items()
            }
        self._stream_position = images_seen + self.step_images
        positions = range(images_seen, self._stream_position, self.batch)
        return [self._real_batch(position) for position in positions]

    def _real_batch(self, position: int) -> RealBatch:
        rows: dict[str, Tensor] = {}
        mirrored: dict[str, Tensor] = {}
        for name, stream in self._streams.items():
            found = next(stream)
            rows |= found
            if self.mirror:
                draws = [self._draws("mirror of", name, position, part).bits(0, (), np.int8) for part in self.parts]
                mirrored |= dict.fromkeys(found, (torch.cat(draws) < 0).to(self.device))
        return RealBatch(rows, mirrored, self.device, self.dtype)
