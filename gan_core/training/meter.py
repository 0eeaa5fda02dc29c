"""Terms between two log points: summed on the device, averaged over processes, and watched for NaN."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from accelerate import Accelerator
from torch import Tensor

from gan_core.errors import NotFiniteError, UserError


@dataclass
class _Sums:
    names: tuple[str, ...]
    total: Tensor
    first_bad: Tensor
    count: int = 0


class Meter:
    """Gathers the terms of every phase without waiting for the device, until they are read."""

    def __init__(self, accelerator: Accelerator) -> None:
        self.accelerator = accelerator
        self._phases: dict[str, _Sums] = {}

    def add(self, phase: str, terms: Mapping[str, Tensor], step: int) -> None:
        """Adds the terms of one turn: scalars on the device."""
        values = torch.stack([term.float() for term in terms.values()])
        sums = self._phases.get(phase)
        if sums is None:
            never = torch.full_like(values, torch.inf)
            sums = self._phases[phase] = _Sums(tuple(terms), torch.zeros_like(values), never)
        elif sums.names != tuple(terms):
            raise UserError(
                f"phase {phase!r} must return the same terms at every turn: {sums.names}, now {tuple(terms)}"
            )
        sums.total += values
        sums.first_bad = torch.minimum(sums.first_bad, torch.where(values.isfinite(), torch.inf, float(step)))
        sums.count += 1

    def read(self) -> dict[str, float]:
        """Returns the means over turns and processes since the last reading, as "phase/term", and starts afresh.

        All processes must read together.

        Raises:
            NotFiniteError: Some term was not finite on some process.
        """
        if not self._phases:
            return {}
        means = torch.cat([sums.total / sums.count for sums in self._phases.values()])
        first_bad = torch.cat([sums.first_bad for sums in self._phases.values()])
        names = [(phase, name) for phase, sums in self._phases.items() for name in sums.names]
        everywhere = self.accelerator.gather(torch.stack([means, first_bad])[None]).cpu()
        self._phases = {}
        step, at = everywhere[:, 1].min(0).values.min(0)
        if step.isfinite():
            phase, name = names[int(at)]
            rank = int(everywhere[:, 1, int(at)].argmin())
            raise NotFiniteError(
                f"{phase}: {name} is not finite from step {int(step)} on (first seen on process {rank}); "
                "the checkpoints are as they were"
            )
        return {
            f"{phase}/{name}": float(mean) for (phase, name), mean in zip(names, everywhere[:, 0].mean(0), strict=True)
        }
