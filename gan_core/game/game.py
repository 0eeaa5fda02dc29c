"""A game: named networks, the phases that train them, and how to sample images."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from torch import Tensor

from gan_core.game.batch import Inputs
from gan_core.game.networks import check_networks
from gan_core.game.phase import Networks, Phase

Draw = Callable[[np.random.Generator, int, Tensor | None], Inputs]
"""`draw(random, count, labels)` returns the generator's inputs for `count` fakes, as CPU tensors.

`labels` is (count,) int64: the requested classes; or None, and `draw` samples the classes itself.
"""

_NAME = re.compile(r"[a-z][a-z0-9_]*")


class Stateful(Protocol):
    """State that a variant keeps between updates: a module with buffers, a replay buffer, a running mean."""

    def state_dict(self) -> dict[str, Any]:
        """Returns tensors and plain values only: they are loaded with `torch.load(weights_only=True)`."""

    def load_state_dict(self, state: dict[str, Any], /) -> object:
        """Restores the state that `state_dict` returned."""


@dataclass(frozen=True, kw_only=True)
class Game:
    """The complete definition of one GAN: networks, phases, and sampling.

    Names of networks, phases and state consist of a-z, 0-9 and _, and start with a letter; those of networks and state
    are file names in a checkpoint.

    Attributes:
        networks: The networks by name; any number of them.
        phases: The phases of one training step, in the order in which they are updated.
        draw: Samples the generator's inputs; see `Draw`. It must use no other source of randomness than the numpy
            generator that it receives.
        generate: `generate(networks, inputs)` returns images (B, C, H, W) in [-1, 1]. It may use only the networks
            named in `ema`.
        ema: Names of the networks that generate samples. The core keeps an exponential moving average (EMA) of each.
        classes: Number of classes that `draw` accepts as labels; 0 for an unconditional game.
        state: Extra state by name, saved in checkpoints. Only the main process's copy is saved, so it must be identical
            on all processes: change it only in `Phase.after`, which receives averages over all processes, or by numbers
            from `Batch.random`. Tensors on the device are better than plain values: with precision fp16, an update that
            changes a plain value waits for the device, to learn whether its gradient was finite.

    Raises:
        ValueError: A name is not allowed, phases share a name or there are none, `ema` or `Phase.trains` names a
            network that does not exist, or `Phase.optimizer` a phase whose optimizer cannot be shared; or a network is
            no module, is lazy, or has complex numbers.
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
            if not isinstance(name, str) or not _NAME.fullmatch(name):
                raise ValueError(
                    f"{name!r} is not allowed as the name of a network, phase or state. Use a-z, 0-9 and _, "
                    "beginning with a letter"
                )
        check_networks(self.networks)
        if len(set(names)) < len(names) or not names:
            raise ValueError(f"a game needs at least one phase, and unique phase names; got {names}")
        for field_name, references in [("ema", self.ema), *((f"phase {p.name!r}", p.trains) for p in self.phases)]:
            for name in references:
                if name not in self.networks:
                    raise ValueError(
                        f"{field_name} names the network {name!r}, but the game has {sorted(self.networks)}"
                    )
        for phase in self.phases:
            if isinstance(phase.optimizer, str):
                self._check_shared(phase, phase.optimizer)

    def _check_shared(self, phase: Phase, owner: str) -> None:
        owners = {other.name: other.trains for other in self.phases if not isinstance(other.optimizer, str)}
        if owner not in owners:
            raise ValueError(
                f"phase {phase.name!r} shares the optimizer of {owner!r}, but the phases with an optimizer of their "
                f"own are {sorted(owners)}"
            )
        if other := sorted(set(phase.trains) - set(owners[owner])):
            raise ValueError(
                f"phase {phase.name!r} shares the optimizer of {owner!r}, which does not train {', '.join(other)}"
            )

    @property
    def batches_per_step(self) -> int:
        """Batches of real images per training step: a new one for each repeat; all phases use the same ones."""
        return max(phase.repeats for phase in self.phases)
