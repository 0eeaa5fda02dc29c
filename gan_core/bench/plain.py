"""The plainest correct loop for any game, as tutorials write it: training is compared with it.

It has no accelerate, averages, checks, logging or checkpoints. Each update draws its inputs, computes the loss, calls
`backward` and `step`, and reads every term with `.item()`. Fakes are made once where phases share a batch, and detached
for phases that train no generator. No file is read while it runs.
"""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from itertools import chain
from typing import Any

import numpy as np
import torch
from PIL.Image import Image
from torch import Tensor
from torch.utils.data import DataLoader, default_collate
from torchvision.transforms import Compose, Normalize, ToTensor
from torchvision.transforms.functional import to_pil_image

from gan_core.distributed.collectives import Collectives
from gan_core.game.batch import Batch, Moment
from gan_core.game.game import Game
from gan_core.game.output import Request
from gan_core.game.phase import Phase
from gan_core.precision import tf32_restored
from gan_core.randomness import Share, Streams
from gan_core.row_randomness import Draws, UpdateRandomness

Real = Mapping[str, Tensor]
"""Rows by field: images (B, C, H, W) in [-1, 1] and labels (B,) int64."""


def loader(columns: Real, batch: int) -> Iterator[Real]:
    """Yields shuffled batches through torch's DataLoader, without end.

    Pictures in memory are transformed one by one, as with torchvision's data sets.
    """
    transform = Compose([ToTensor(), Normalize(0.5, 0.5)])
    kept = [map(to_pil_image, (c + 1).mul(127.5).round().byte()) if c.dim() == 4 else c for c in columns.values()]

    def collate(rows: list[tuple[Any, ...]]) -> Real:
        changed = [[transform(one) if isinstance(one, Image) else one for one in row] for row in rows]
        return dict(zip(columns, default_collate(changed), strict=True))

    rows: Any = list(zip(*kept, strict=True))
    batches = DataLoader(rows, batch, shuffle=True, drop_last=True, collate_fn=collate)
    while True:
        yield from batches


def tensor(columns: Real, batch: int) -> Iterator[Real]:
    """Yields shuffled batches of a table that are gathered from its tensors, without end."""
    count = len(next(iter(columns.values())))
    while True:
        for at in torch.randperm(count)[: count // batch * batch].split(batch):
            yield {name: column[at] for name, column in columns.items()}


class PlainLoop:
    """The updates of a game on one process."""

    def __init__(self, game: Game, batch: int, length: int, device: torch.device, dtype: torch.dtype) -> None:
        """Moves the game to the device. `batch` and `length` are in images."""
        self.game, self.batch, self.length, self.device, self.dtype = game, batch, length, device, dtype
        self.random, self.steps = np.random.default_rng(), 0
        for module in chain(game.networks.values(), game.state.values()):
            if isinstance(module, torch.nn.Module):
                module.to(device, dtype if module in game.networks.values() else None)
        made = {}
        for phase in game.phases:
            if not isinstance(phase.optimizer, str):
                trained = (p for name in phase.trains for p in game.networks[name].parameters() if p.requires_grad)
                made[phase.name] = optimizer = phase.optimizer(list(dict.fromkeys(trained)))
                for group in optimizer.param_groups:
                    group["fused"] = None  # torch chooses, as in loops written by hand.
        self.optimizers = {p.name: made[p.optimizer if isinstance(p.optimizer, str) else p.name] for p in game.phases}

    def step(self, real: Iterator[Real]) -> dict[str, float]:
        """Updates every phase, and returns the terms."""
        rows = [next(real) for _ in range(self.game.batches_per_step)]
        given: dict[tuple[str, int], Batch] = {}
        terms: dict[str, float] = {}
        for phase in self.game.phases:
            for repeat in range(phase.repeats if self.steps % phase.every == 0 else 0):
                # The one place where phases share a batch: its rows, its inputs, and what is made from them.
                key = (phase.on or phase.name, repeat)
                given[key] = given.get(key) or self.make_batch(phase, rows[repeat])
                terms |= self.update(phase, given[key])
        self.steps += 1
        return terms

    def make_batch(self, phase: Phase, real: Real) -> Batch:
        """Draws the inputs of a phase's update on these rows."""
        inputs = self.game.draw(self.random, Request(count=self.batch * phase.fakes))
        seen = self.steps * self.batch * self.game.batches_per_step
        draws = Draws(Streams(self.steps), phase.name, seen, slice(0, self.batch))
        batch = Batch(
            real={name: self._place(column) for name, column in real.items()},
            inputs={name: self._place(value) for name, value in inputs.items()},
            random=UpdateRandomness(draws, self.device, self.dtype),
            moment=Moment(images_seen=seen, progress=min(1.0, seen / self.length), batch=self.batch),
            processes=Collectives(Share(0, 1)),
        )
        return replace(batch, fake=phase.make_fake(self.game.networks, batch)) if phase.make_fake else batch

    def _place(self, value: Tensor) -> Tensor:
        return value.to(self.device, self.dtype if value.is_floating_point() else None)

    @tf32_restored()
    def update(self, phase: Phase, batch: Batch) -> dict[str, float]:
        """Takes one step of the phase's optimizer, and returns the terms."""
        if not set(phase.trains) & set(self.game.ema):
            batch = replace(batch, fake={name: fake.detach() for name, fake in batch.fake.items()})
        optimizer = self.optimizers[phase.name]
        if phase.tune is not None:
            for group in optimizer.param_groups:
                group.update(phase.tune(batch.moment))
        optimizer.zero_grad()
        terms = phase.loss(self.game.networks, batch)
        torch.stack([term.reshape(()) for term in terms.values() if term.requires_grad]).sum().backward()
        optimizer.step()
        if phase.after is not None:
            with torch.no_grad():
                phase.after(self.game.networks, {name: term.detach() for name, term in terms.items()}, batch)
        return {f"{phase.name}/{name}": term.item() for name, term in terms.items()}
