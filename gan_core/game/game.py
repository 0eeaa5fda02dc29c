"""A game: named networks, the phases in which they learn, and how to draw images."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from torch import Tensor

from gan_core.game.batch import Inputs
from gan_core.game.phase import Networks, Phase

Draw = Callable[[np.random.Generator, int, Tensor | None], Inputs]
"""`draw(random, count, labels)`: CPU inputs for `count` fakes, of the asked labels (count,) or of the game's choice."""

_NAME = re.compile(r"[a-z][a-z0-9_]*")


class Stateful(Protocol):
    """Anything that a variant must remember between turns: a module with buffers, a replay pool, a running mean."""

    def state_dict(self) -> dict[str, Any]:
        """Returns tensors and plain values; they are saved without pickled code."""

    def load_state_dict(self, state: dict[str, Any], /) -> object:
        """Takes back what `state_dict` gave."""


@dataclass(frozen=True, kw_only=True)
class Game:
    """Everything that one GAN is.

    Attributes:
        networks: The networks by name; any number of them. Names are file names in a checkpoint.
        phases: The turns of one round, in order.
        draw: Draws the generator's inputs from a numpy generator. It must use no other source of chance.
        generate: Turns inputs into images (B, C, H, W) in [-1, 1], using only the networks named in `ema`.
        ema: The networks that draw the samples. The core keeps an exponential moving average of each.
        classes: How many labels `draw` can be asked for; 0 for an unconditional game.
        state: What else must survive a resume, by name. It must be the same on all processes, for that of the main one
            is saved: change it in `Phase.after`, which sees averages, or from `Batch.random`.
    """

    networks: Networks
    phases: Sequence[Phase]
    draw: Draw
    generate: Callable[[Networks, Inputs], Tensor]
    ema: tuple[str, ...] = ("generator",)
    classes: int = 0
    state: Mapping[str, Stateful] = field(default_factory=dict)

    def __post_init__(self) -> None:
        names = [phase.name for phase in self.phases]
        for name in (*self.networks, *self.state, *names):
            if not _NAME.fullmatch(name):
                raise ValueError(f"{name!r} is no name for a network, phase or state: use a-z, 0-9 and _")
        if len(set(names)) < len(names) or not names:
            raise ValueError(f"a game needs phases with names of their own, but these are {names}")
        for who, wanted in [("ema", self.ema), *((f"phase {p.name!r}", p.trains) for p in self.phases)]:
            for name in wanted:
                if name not in self.networks:
                    raise ValueError(f"{who} names the network {name!r}, but the game has {sorted(self.networks)}")

    @property
    def batches_per_step(self) -> int:
        """The batches of real images in a step: each update of a phase has a fresh one, and phases share them."""
        return max(phase.repeats for phase in self.phases)
