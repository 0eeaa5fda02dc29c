"""The mutable state of a run, saved in checkpoints."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from torch import nn

from gan_core.errors import UserError
from gan_core.game.game import Stateful
from gan_core.runs import checkpoint
from gan_core.runs.checkpoint import Checkpoint
from gan_core.training.agreement import check_finite, check_same, shared_state
from gan_core.training.ema import Ema
from gan_core.training.phase_trainer import PhaseTrainer


@dataclass
class TrainingState:
    """All mutable state of a run; everything else is a function of `images_seen` and the settings."""

    networks: Mapping[str, nn.Module]
    averages: Mapping[str, Ema]
    trainers: Mapping[str, PhaseTrainer]
    extra_state: Mapping[str, Stateful]
    scaler: torch.amp.GradScaler | None = None
    images_seen: int = 0

    def save(self, folder: Path, logged: Mapping[str, Any]) -> Path:
        """Writes a checkpoint; see `gan_core.runs.checkpoint`."""
        tensors = {name: network.state_dict() for name, network in self._modules().items()}
        return checkpoint.save(folder, self.images_seen, tensors, self._states(), logged)

    def check(self, accelerator: Accelerator, *, local_statistics: bool) -> None:
        """Checks what a checkpoint would hold, on all processes.

        Args:
            accelerator: The run's accelerator.
            local_statistics: Whether each process has its own running statistics of batch normalisation.

        Raises:
            NotFiniteError: A weight or an average is NaN or infinite.
            TrainingError: Networks or extra state differ between processes.
        """
        check_finite(self._modules())
        states: dict[str, Mapping[str, Any]] = {
            name: shared_state(network, statistics=not local_statistics) for name, network in self.networks.items()
        }
        check_same(
            states | {f"state-{name}": owner.state_dict() for name, owner in self.extra_state.items()}, accelerator
        )

    def check_readable(self) -> None:
        """Checks that a checkpoint could be read back, before the first step.

        Raises:
            UserError: An optimizer or extra state holds something other than tensors and plain values.
        """
        for name, state in self._states().items():
            checkpoint.serialised(name, state)

    def load(self, saved: Checkpoint) -> None:
        """Restores a checkpoint, bit for bit.

        Raises:
            UserError: The checkpoint belongs to other networks.
        """
        try:
            for name, network in self._modules().items():
                network.load_state_dict(saved.tensors(name))
            for name, owner in self._stateful().items():
                owner.load_state_dict(saved.state(name))
        except UserError:
            raise
        except Exception as error:  # torch, and the variant, raise anything for the state of something else.
            raise UserError(f"checkpoint {saved.path} does not match this game: {error}") from error
        self.images_seen = saved.images_seen

    def _modules(self) -> dict[str, nn.Module]:
        averages = {f"ema-{name}": average.network for name, average in self.averages.items()}
        return {**self.networks, **averages}

    def _states(self) -> dict[str, dict[str, Any]]:
        return {name: owner.state_dict() for name, owner in self._stateful().items()}

    def _stateful(self) -> dict[str, Any]:
        return (
            {
                f"optimizer-{name}": trainer.optimizer
                for name, trainer in self.trainers.items()
                if not isinstance(trainer.phase.optimizer, str)
            }
            | {f"state-{name}": owner for name, owner in self.extra_state.items()}
            | ({} if self.scaler is None else {"scaler": self.scaler})
        )


def cadence(kimg: float | None, otherwise: int) -> int:
    """Returns an interval in images: `kimg` thousand, or `otherwise` (at least 1,000) if `kimg` is None."""
    return max(1000, otherwise) if kimg is None else max(1, round(kimg * 1000))


def due(every: int, images_seen: int, step: int) -> bool:
    """Returns whether the last step, of `step` images, reached a multiple of `every` images; also True at 0."""
    return images_seen // every != (images_seen - step) // every
