"""Terms between two log points: summed on the device, averaged over processes, and checked for NaN."""

from collections import Counter
from dataclasses import dataclass

import torch
from accelerate import Accelerator
from torch import Tensor

from gan_core.errors import NotFiniteError, UserError
from gan_core.training.phase_trainer import Update


@dataclass
class _Sums:
    names: tuple[str, ...]
    total: Tensor
    first_bad: Tensor
    count: int = 0


class Meter:
    """Accumulates the terms of every phase, without synchronising with the device until they are read."""

    def __init__(self, accelerator: Accelerator, nan_limit: int) -> None:
        """Stores how many updates of a phase may be skipped in a row; the count restarts after a resume."""
        self.accelerator, self.nan_limit = accelerator, nan_limit
        self._phases: dict[str, _Sums] = {}
        self._steps: list[int] = []  # The step of each update since the last read.
        self._skipped: Counter[str] = Counter()
        self._in_a_row: Counter[str] = Counter()

    def add(self, phase: str, update: Update, step: int) -> None:
        """Adds one update; a skipped one is only counted.

        Raises:
            NotFiniteError: More than `nan_limit` were skipped in a row.
        """
        if not update.skipped:
            self._in_a_row[phase] = 0
            self._sum(phase, update, step)
            return
        self._skipped[phase] += 1
        self._in_a_row[phase] += 1
        if self._in_a_row[phase] > self.nan_limit:
            self._phases, self._steps = {}, []
            self._sum(phase, update, step)
            try:
                self.read()
            except NotFiniteError as error:
                raise NotFiniteError(f"{error}\n{self.nan_limit} updates in a row were skipped before") from None

    def _sum(self, phase: str, update: Update, step: int) -> None:
        names, values = tuple(update.terms), torch.stack([term.float() for term in update.terms.values()])
        sums = self._phases.get(phase)
        if sums is None:
            never = torch.full_like(values, torch.inf)
            sums = self._phases[phase] = _Sums(names, torch.zeros_like(values), never)
        elif sums.names != names:
            raise UserError(f"phase {phase!r} must return the same terms in every update: {sums.names}, now {names}")
        sums.total += values
        position = torch.full_like(values, float(len(self._steps)))
        if names[-1] == "gradient norm":
            # All processes have the same norm. The 0.5 ranks those whose own gradient was finite after the others.
            position[-1] += 0.5 * update.finite
        self._steps.append(step)
        sums.first_bad = torch.minimum(sums.first_bad, position.where(~values.isfinite(), torch.inf))
        sums.count += 1

    def read(self) -> dict[str, float]:
        """Returns the means over updates and processes since the last read, as "phase/term", and resets them.

        "phase/skipped" is the number of skipped updates, if any. All processes must call it together.

        Raises:
            NotFiniteError: A term was not finite on a process.
        """
        skipped = {f"{phase}/skipped": float(count) for phase, count in self._skipped.items()}
        self._skipped.clear()
        if not self._phases:
            return skipped
        means = torch.cat([sums.total / sums.count for sums in self._phases.values()])
        first_bad = torch.cat([sums.first_bad for sums in self._phases.values()])
        names = [(phase, name) for phase, sums in self._phases.items() for name in sums.names]
        everywhere = self.accelerator.gather(torch.stack([means, first_bad])[None]).cpu()
        steps, self._phases, self._steps = self._steps, {}, []
        earliest, ranks = everywhere[:, 1].min(0)
        if earliest.isfinite().any():
            at = int(earliest.argmin())
            phase, name = names[at]
            raise NotFiniteError(
                f"{phase}: {name} is not finite from step {steps[int(earliest[at])]} on (first seen on process "
                f"{int(ranks[at])}); the checkpoints are unchanged"
            )
        averages = everywhere[:, 0].mean(0)
        return {f"{phase}/{name}": float(mean) for (phase, name), mean in zip(names, averages, strict=True)} | skipped
