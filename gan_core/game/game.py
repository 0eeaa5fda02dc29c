"""A game: named networks, the phases that train them, and the images that they draw."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from gan_core.game.batch import Moment
from gan_core.game.output import Draw, Output
from gan_core.game.phase import Networks, Phase

_NAME = re.compile(r"[a-z][a-z0-9_]*")


class Stateful(Protocol):
    """State that a variant keeps between updates: a module with buffers, a replay buffer, a running mean."""

    def state_dict(self) -> dict[str, Any]:
        """Returns tensors and plain values only: they are loaded with `torch.load(weights_only=True)`."""

    def load_state_dict(self, state: dict[str, Any], /) -> object:
        """Restores the state that `state_dict` returned."""


@dataclass(frozen=True, kw_only=True)
class Game:
    """The complete definition of one GAN: networks, phases, and outputs.

    Names of networks, phases, outputs and state consist of a-z, 0-9 and _, and start with a letter; those of networks
    and state are file names in a checkpoint.

    Attributes:
        networks: The networks by name; any number of them.
        phases: The phases of one training step, in the order in which they are updated.
        draw: Samples the generator's inputs; see `Draw`.
        outputs: What the game draws, by name; the first one is drawn where none is named.
        ema: Names of the networks that draw. The core keeps an exponential moving average (EMA) of each.
        half_life: Half-life of the averages in images, as a function of where the run stands; by default `ema_kimg`.
        prepare: `prepare(networks, random, options)` is called once before samples are drawn, under `torch.no_grad()`,
            with copies of the networks in `ema` that it may change: standing statistics of batch normalisation, for
            example. Every process that draws calls it on plain modules of its own: it must not communicate.
        state: Extra state by name, saved in checkpoints; modules are moved to the run's device and keep their dtype,
            other objects stay as they are. It changes only in losses and in `Phase.after`. Only the main process's copy
            is saved, so it must be identical on all processes: compute it from gathered rows, means over processes, the
            terms that `Phase.after` receives, and `Batch.random` (gathered, for it has this process's rows). Keep
            tensors on the device: with precision fp16, an update that changes a plain value waits for it.
    """

    networks: Networks
    phases: Sequence[Phase]
    draw: Draw
    outputs: Mapping[str, Output]
    ema: tuple[str, ...] = ("generator",)
    half_life: Callable[[Moment], float] | None = None
    prepare: Callable[[Networks, np.random.Generator, Any], None] | None = None
    state: Mapping[str, Stateful] = field(default_factory=dict)

    def __post_init__(self) -> None:
        names = [phase.name for phase in self.phases]
        for name in (*self.networks, *self.state, *self.outputs, *names):
            if not isinstance(name, str) or not _NAME.fullmatch(name):
                raise ValueError(
                    f"{name!r} is not allowed as the name of a network, phase, output or state. Use a-z, 0-9 and _, "
                    "beginning with a letter"
                )
        if len(set(names)) < len(names) or not names:
            raise ValueError(f"a game needs at least one phase, and unique phase names; got {names}")
        if not self.outputs:
            raise ValueError("a game needs at least one output")
        for who, named in [("ema", self.ema), *((f"phase {p.name!r}", p.trains) for p in self.phases)]:
            if other := sorted(set(named) - set(self.networks)):
                raise ValueError(f"{who} names the network {other[0]!r}, but the game has {sorted(self.networks)}")
        for phase in self.phases:
            self._check_references(phase)

    def _check_references(self, phase: Phase) -> None:
        if isinstance(phase.optimizer, str):
            what = f"phase {phase.name!r} shares the optimizer of {phase.optimizer!r}"
            owners = {other.name: other.trains for other in self.phases if not isinstance(other.optimizer, str)}
            if phase.optimizer not in owners:
                raise ValueError(f"{what}, but the phases with an optimizer of their own are {sorted(owners)}")
            if missing := sorted(set(phase.trains) - set(owners[phase.optimizer])):
                raise ValueError(f"{what}, which does not train {', '.join(missing)}")
        if phase.on is not None:
            what = f"phase {phase.name!r} is on the batch of {phase.on!r}"
            earlier = {other.name: other for other in self.phases[: self.phases.index(phase)] if other.on is None}
            if phase.on not in earlier:
                raise ValueError(f"{what}, but the earlier phases with a batch of their own are {sorted(earlier)}")
            for name in ("repeats", "every", "fakes"):
                if getattr(phase, name) != getattr(earlier[phase.on], name):
                    raise ValueError(f"{what}, which has other {name}")
            if phase.make_fake:
                raise ValueError(f"{what}, so its fakes are those of that phase: leave out its make_fake")

    @property
    def batches_per_step(self) -> int:
        """Batches of real images per training step: a new one for each repeat; all phases use the same ones."""
        return max(phase.repeats for phase in self.phases)
