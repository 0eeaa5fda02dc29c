"""Everything about a run that changes while it trains, and nothing else."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from gan_core.errors import UserError
from gan_core.game.game import Stateful
from gan_core.runs import checkpoint
from gan_core.runs.checkpoint import Checkpoint
from gan_core.training.ema import Ema
from gan_core.training.player import Player


@dataclass
class TrainingState:
    """The whole mutable state of a run; what is not here is a function of `images_seen` and the settings."""

    networks: Mapping[str, nn.Module]
    averages: Mapping[str, Ema]
    players: Sequence[Player]
    memory: Mapping[str, Stateful]
    images_seen: int = 0

    def save(self, folder: Path) -> Path:
        """Writes a checkpoint of it; see `gan_core.runs.checkpoint`."""
        tensors = {name: network.state_dict() for name, network in self.networks.items()}
        tensors |= {f"ema-{name}": average.network.state_dict() for name, average in self.averages.items()}
        states = {name: owner.state_dict() for name, owner in self._stateful().items()}
        return checkpoint.save(folder, self.images_seen, tensors, states)

    def load(self, saved: Checkpoint) -> None:
        """Takes a checkpoint back, bit for bit.

        Raises:
            UserError: It is of other networks.
        """
        owners: dict[str, nn.Module] = dict(self.networks)
        owners |= {f"ema-{name}": average.network for name, average in self.averages.items()}
        try:
            for name, network in owners.items():
                network.load_state_dict(saved.tensors(name))
            for name, owner in self._stateful().items():
                owner.load_state_dict(saved.state(name))
        except (RuntimeError, FileNotFoundError, ValueError) as error:
            raise UserError(f"checkpoint {saved.path} does not fit this game: {error}") from error
        self.images_seen = saved.images_seen

    def _stateful(self) -> dict[str, Any]:
        scaler = next(iter(self.players)).accelerator.scaler
        return (
            {f"optimizer-{player.phase.name}": player for player in self.players}
            | {f"state-{name}": owner for name, owner in self.memory.items()}
            | ({} if scaler is None else {"scaler": scaler})
        )


def cadence(kimg: float | None, otherwise: int) -> int:
    """Returns a number of images: the one that was set, or else the given one, but at least a thousand."""
    return max(1000, otherwise) if kimg is None else max(1, round(kimg * 1000))


def due(every: int, images_seen: int, step: int) -> bool:
    """Says whether a multiple of `every` images was reached in the last step, of so many images; also at 0."""
    return images_seen // every != (images_seen - step) // every
