"""The batches of every update, the same on any number of processes and after any resume."""

from collections.abc import Iterator, Mapping

import torch
from torch import Tensor

from gan_core.data.dataset import RealRows, Rows
from gan_core.data.row_order import RowOrder
from gan_core.distributed.collectives import Collectives
from gan_core.game.batch import Batch, Moment
from gan_core.game.data_spec import DataSpec
from gan_core.game.game import Game
from gan_core.game.output import Request
from gan_core.game.phase import Phase
from gan_core.randomness import Share, Streams, UpdateRandomness
from gan_core.transfer import place


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

    def step(self, images_seen: int) -> Iterator[tuple[Phase, list[Batch]]]:
        """Yields (phase, micro-batches) for every update of the step that begins at `images_seen`.

        Advance the iterator only after the update is done: it reseeds torch's global generators for each update.
        """
        step = images_seen // self.step_images
        moment = Moment(images_seen=images_seen, progress=min(1.0, images_seen / self.length), batch=self.batch)
        real = self._real_batches(images_seen)
        for phase in self.game.phases:
            for repeat in range(phase.repeats if step % phase.every == 0 else 0):
                yield phase, self._micro_batches(phase, real[repeat], images_seen + repeat * self.batch, moment)

    def _micro_batches(self, phase: Phase, real: "_RealBatch", position: int, moment: Moment) -> list[Batch]:
        """Returns the micro-batches of the update at `position` in the sequence of rows.

        Reseeds torch's global generators, from which modules such as dropout draw.
        """
        name = phase.on or phase.name  # Phases on one batch draw the same random numbers.
        random = self.streams.at(f"inputs of {name}", position)
        inputs = self.game.draw(random, Request(count=self.batch * phase.fakes))
        self.streams.seed_modules(f"modules in {name}", position, self.share.rank)
        rows = real.rows()
        size = self.batch // self.share.world // len(self.parts)
        batches = []
        for number, part in enumerate(self.parts):
            mine = slice(number * size, (number + 1) * size)
            fakes = slice(part.start * phase.fakes, part.stop * phase.fakes)
            random = self.streams.at(f"loss of {name}", position)
            batches.append(
                Batch(
                    real={field: column[mine] for field, column in rows.items()},
                    inputs=place({key: tensor[fakes] for key, tensor in inputs.items()}, self.device, self.dtype),
                    random=UpdateRandomness(random, self.batch, part, self.device, self.dtype),
                    moment=moment,
                    processes=self.processes,
                )
            )
        return batches

    def _real_batches(self, images_seen: int) -> list["_RealBatch"]:
        """Returns this process's real batches of one step; restarts the streams unless it follows the last one."""
        if self._stream_position != images_seen:
            self._streams = {
                name: rows.batches(self.orders[name].batches(images_seen, self.batch, self.parts))
                for name, rows in self.tables.items()
            }
        self._stream_position = images_seen + self.step_images
        positions = range(images_seen, self._stream_position, self.batch)
        return [self._real_batch(position) for position in positions]

    def _real_batch(self, position: int) -> "_RealBatch":
        rows: dict[str, Tensor] = {}
        mirrored: dict[str, Tensor] = {}
        for name, stream in self._streams.items():
            found = next(stream)
            rows |= found
            if self.mirror:
                drawn = self.streams.at(f"mirror of {name}", position).random(self.batch) < 0.5
                mine = torch.cat([torch.from_numpy(drawn[part]) for part in self.parts]).to(self.device)
                mirrored |= dict.fromkeys(found, mine)
        return _RealBatch(rows, mirrored, self.device, self.dtype)


class _RealBatch:
    """The real rows of one batch; images are converted to [-1, 1] once for all phases of a step."""

    def __init__(
        self, rows: RealRows, mirrored: Mapping[str, Tensor], device: torch.device, dtype: torch.dtype
    ) -> None:
        self._stored, self._mirrored, self._device, self._dtype = rows, mirrored, device, dtype
        self._rows: dict[str, Tensor] = {}
        self._versions: dict[str, int] = {}

    def rows(self) -> dict[str, Tensor]:
        """Returns images (B, C, H, W) in [-1, 1] and labels (B,); converts again what a loss changed in place."""
        for name, column in self._stored.items():
            if name in self._rows and self._rows[name]._version == self._versions[name]:
                continue
            if column.ndim > 1:
                column = column.to(self._device, self._dtype).div_(127.5).sub_(1.0)
                if (flip := self._mirrored.get(name)) is not None:
                    column = torch.where(flip.view(-1, 1, 1, 1), column.flip(3), column)
            else:
                column = column.to(self._device)
            self._rows[name], self._versions[name] = column, column._version
        return dict(self._rows)
