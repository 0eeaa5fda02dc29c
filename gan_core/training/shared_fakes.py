"""Fakes that the phases on one batch share: made once a step, with a graph for the phases that train what made them."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace

from torch import Tensor

from gan_core.errors import UserError
from gan_core.game.batch import Batch
from gan_core.game.phase import Networks, Phase
from gan_core.row_randomness import Draws, LayerRandomness, layers_draw
from gan_core.training.phase_module import PhaseModule, reached_by, require_gradients

MakeFake = Callable[[Networks, Batch], Mapping[str, Tensor]]


@dataclass(kw_only=True, slots=True)
class Made:
    """The fakes of one micro-batch, which all phases on it get.

    Attributes:
        draws: Where layers draw from while they are made.
        fakes: The fakes, with their graph; empty as long as they are not made.
        versions: torch's counters of changes in place, when they were made.
        steps: Steps that had been taken on the networks that made them.
    """

    draws: Draws
    fakes: Mapping[str, Tensor] = field(default_factory=dict)
    versions: Sequence[int] = ()
    steps: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class MicroBatch(Batch):
    """A batch, and what the core needs to play on it.

    Attributes:
        made: Its fakes, shared with other phases.
        draws: Where layers draw from in the loss.
    """

    made: Made
    draws: Draws


class _Maker:
    """Makes the fakes of one phase's batches."""

    def __init__(self, make: MakeFake, owner: Phase, modules: Sequence[PhaseModule]) -> None:
        self.make, self.name, self.networks = make, owner.name, modules[0].by_name
        group = [module for module in modules if owner.name in (module.phase.name, module.phase.on)]
        trained = {id(parameter) for module in group for parameter in module.trained}
        self.wanted = [(parameter, id(parameter) in trained) for parameter in modules[0].networks.parameters()]
        self.trained_by: frozenset[str] | None = None  # Not known before the first fakes.
        self.steps = 0

    def phases_that_train(self, made: Made, modules: Iterable[PhaseModule]) -> frozenset[str]:
        """Returns the phases whose updates change the networks that made the fakes."""
        reached = reached_by(made.fakes.values())
        return frozenset(module.phase.name for module in modules if reached.intersection(module.trained))

    def __call__(self, batch: MicroBatch, autocast: Callable[[], AbstractContextManager[None]]) -> None:
        require_gradients(self.wanted)
        with autocast(), layers_draw(LayerRandomness(batch.made.draws)):
            fakes = self.make(self.networks, batch)
        if not isinstance(fakes, Mapping) or not all(isinstance(fake, Tensor) for fake in fakes.values()):
            raise UserError(
                f"phase {self.name!r}: make_fake returned {type(fakes).__name__}, but must return a dict of tensors"
            )
        made = batch.made
        made.fakes, made.versions, made.steps = fakes, [fake._version for fake in fakes.values()], self.steps


class SharedFakes:
    """Makes the fakes of all phases that have some."""

    def __init__(self, modules: Sequence[PhaseModule], autocast: Callable[[], AbstractContextManager[None]]) -> None:
        """Finds the phases that make fakes.

        Args:
            modules: All phases of the game.
            autocast: Returns the context of the run's precision.
        """
        self.modules, self.autocast = modules, autocast
        self._owned = {m.phase.name: _Maker(m.phase.make_fake, m.phase, modules) for m in modules if m.phase.make_fake}
        owners = {module.phase.name: module.phase.on or module.phase.name for module in modules}
        self._makers = {name: self._owned[owner] for name, owner in owners.items() if owner in self._owned}

    def filled(self, phase: Phase, batch: Batch) -> Batch:
        """Returns the batch with the phase's fakes: with a graph if it trains what made them, otherwise detached.

        Changes which parameters require a gradient.
        """
        maker = self._makers.get(phase.name)
        if maker is None:
            return batch
        assert isinstance(batch, MicroBatch)
        made = batch.made
        if maker.trained_by is None:
            maker(batch, self.autocast)
            maker.trained_by = maker.phases_that_train(made, self.modules)
        trains = phase.name in maker.trained_by
        outdated = trains and made.steps != maker.steps  # Its graph has weights that have changed since.
        if outdated or [fake._version for fake in made.fakes.values()] != made.versions or not made.fakes:
            maker(batch, self.autocast)
        fakes = made.fakes if trains else {name: fake.detach() for name, fake in made.fakes.items()}
        return replace(batch, fake=fakes)

    def stepped(self, phase: Phase) -> None:
        """Notes that a phase has changed its networks: graphs through them are of no use any more."""
        for maker in self._owned.values():
            if phase.name in (maker.trained_by or ()):
                maker.steps += 1


def layers_of(batch: Batch) -> AbstractContextManager[None]:
    """Returns the context in which layers draw from the random numbers of a batch; without any, for other batches."""
    return layers_draw(LayerRandomness(batch.draws)) if isinstance(batch, MicroBatch) else nullcontext()
