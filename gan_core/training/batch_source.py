"""The batches of every update, the same on any number of processes and after any resume."""

from collections.abc import Iterator

import torch
from torch import Tensor

from gan_core.data.dataset import Images, RealBatch
from gan_core.data.image_order import ImageOrder
from gan_core.game.batch import Batch, place
from gan_core.game.game import Game
from gan_core.game.phase import Phase
from gan_core.randomness import Share, Streams, UpdateRandomness


class BatchSource:
    """Makes batches as functions of (seed, phase, images seen)."""

    def __init__(
        self,
        *,
        game: Game,
        images: Images,
        count: int,
        batch: int,
        accumulate: int,
        seed: int,
        share: Share,
        device: torch.device,
        dtype: torch.dtype,
    ) -> None:
        """Stores the data and how to split it into batches.

        Args:
            game: Names the phases and draws the generator's inputs.
            images: The training split.
            count: How many images it has.
            batch: Images in a batch, over all processes.
            accumulate: Micro-batches in a batch.
            seed: Seed of the order of images and of all random numbers.
            share: This process's share of a batch.
            device: The device of the batches.
            dtype: The floating-point type of the batches.
        """
        self.game, self.images, self.batch, self.share = game, images, batch, share
        self.device, self.dtype = device, dtype
        self.parts, self.streams = share.micro_batches(batch, accumulate), Streams(seed)
        self.order = ImageOrder(self.streams, count)
        self.step_images = batch * game.batches_per_step
        self._stream: Iterator[RealBatch] = iter(())
        self._stream_position = -1

    def step(self, images_seen: int) -> Iterator[tuple[Phase, list[Batch]]]:
        """Yields (phase, micro-batches) for every update of the step that begins at `images_seen`.

        Advance the iterator only after the update is done: it reseeds torch's global generators for each update.
        """
        step = images_seen // self.step_images
        real = self._real_batches(images_seen)
        for phase in self.game.phases:
            for repeat in range(phase.repeats if step % phase.every == 0 else 0):
                yield phase, self._micro_batches(phase, real[repeat], images_seen + repeat * self.batch)

    def _micro_batches(self, phase: Phase, real: "_RealBatch", position: int) -> list[Batch]:
        """Returns the micro-batches of the update at `position` in the sequence of images.

        Reseeds torch's global generators, from which modules such as dropout draw.
        """
        inputs = self.game.draw(self.streams.at(f"inputs of {phase.name}", position), self.batch * phase.fakes, None)
        self.streams.seed_modules(f"modules in {phase.name}", position, self.share.rank)
        images, labels = real.images(), real.labels
        size = images.shape[0] // len(self.parts)
        batches = []
        for number, part in enumerate(self.parts):
            mine = slice(number * size, (number + 1) * size)
            fakes = slice(part.start * phase.fakes, part.stop * phase.fakes)
            random = self.streams.at(f"loss of {phase.name}", position)
            batches.append(
                Batch(
                    images=images[mine],
                    labels=None if labels is None else labels[mine],
                    inputs=place({name: tensor[fakes] for name, tensor in inputs.items()}, self.device, self.dtype),
                    random=UpdateRandomness(random, self.batch, part, self.device, self.dtype),
                )
            )
        return batches

    def _real_batches(self, images_seen: int) -> list["_RealBatch"]:
        """Returns this process's real batches of one step; restarts the stream unless the step follows the last one."""
        if self._stream_position != images_seen:
            self._stream = self.images.batches(self.order.batches(images_seen, self.batch, self.parts))
        self._stream_position = images_seen + self.step_images
        return [_RealBatch(next(self._stream), self.device, self.dtype) for _ in range(self.game.batches_per_step)]


class _RealBatch:
    """Real images of one batch, converted to [-1, 1] once for all phases of a step."""

    def __init__(self, real: RealBatch, device: torch.device, dtype: torch.dtype) -> None:
        self._pixels, self.labels = real
        self._device, self._dtype = device, dtype
        self._images: Tensor | None = None
        self._version = 0

    def images(self) -> Tensor:
        """Returns images (B, C, H, W) in [-1, 1]; converts them again if a loss changed them in place."""
        if self._images is None or self._images._version != self._version:
            self._images = self._pixels.to(self._device, self._dtype).div_(127.5).sub_(1.0)
            self._version = self._images._version
        return self._images
