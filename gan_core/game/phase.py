"""A phase: one kind of turn in the game."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from torch import Tensor, nn
from torch.optim import Optimizer

from gan_core.game.batch import Batch

Networks = Mapping[str, nn.Module]
"""A game's networks by name. Inside a loss each is an ordinary module: call it as often and in any way you like."""

Terms = Mapping[str, Tensor]
"""Named scalars. Those that carry a gradient are summed and differentiated; detached ones are only logged."""

MakeOptimizer = Callable[[Iterable[nn.Parameter]], Optimizer]


@dataclass(frozen=True, kw_only=True, slots=True)
class Phase:
    """Who learns, from which loss, and how often.

    The core plays the phases of a game in order, round after round. In a turn it draws a fresh batch, freezes every
    network that the phase does not train, sums the loss's terms, and alone runs the backward pass, scales, clips and
    steps. A loss never calls `.backward()` or `.step()`.

    Attributes:
        name: Prefixes the phase's terms in the log ("discriminator/real").
        trains: The networks that learn in this phase; all others are frozen while it plays.
        loss: `loss(networks, batch)` returns named scalar terms, the same names at every turn.
        optimizer: Makes the optimizer from the trained parameters; see `gan_core.adam`.
        repeats: Turns in a row, each on fresh data (the critic steps of WGAN).
        every: Play only every so many rounds (lazy regularisation).
        fakes: The generator's inputs in a batch for each real image (2 where the generator learns from twice as many).
        after: Called after each step with the networks and the terms averaged over all processes, without gradients
            (the weight clipping of WGAN, the k of BEGAN).
    """

    name: str
    trains: tuple[str, ...]
    loss: Callable[[Networks, Batch], Terms]
    optimizer: MakeOptimizer
    repeats: int = 1
    every: int = 1
    fakes: int = 1
    after: Callable[[Networks, Terms], None] | None = None

    def __post_init__(self) -> None:
        for field in ("repeats", "every", "fakes"):
            if getattr(self, field) < 1:
                raise ValueError(f"phase {self.name!r}: {field} is {getattr(self, field)}, but must be at least 1")
        if not self.trains:
            raise ValueError(f"phase {self.name!r} trains no network: name at least one in `trains`")
