"""Terms between two log points: summed on the device, averaged over processes, and checked for NaN."""

from dataclasses import dataclass

import torch
from accelerate import Accelerator
from torch import Tensor

from gan_core.errors import NotFiniteError, UserError
from gan_core.training.phase_trainer import Update
from gan_core.training.scheduled_optimizer import LEAST_SCALE

Count = int | Tensor
"""A count that this process knows, or that is on the device: with a gradient scaler, nothing waits for skips."""


@dataclass
class _Sums:
    names: tuple[str, ...]
    total: Tensor
    first_bad: Tensor
    count: Count = 0
    too_many: bool | Tensor = False


class Meter:
    """Accumulates the terms of every phase, without synchronising with the device until they are read."""

    def __init__(self, accelerator: Accelerator, nan_limit: int) -> None:
        """Stores how many updates of a phase may be skipped in a row; the count restarts after a resume."""
        self.accelerator, self.nan_limit = accelerator, nan_limit
        self._phases: dict[str, _Sums] = {}
        self._steps: list[int] = []  # The step of each update since the last read.
        self._skipped: dict[str, Count] = {}
        self._in_a_row: dict[str, Count] = {}

    def add(self, phase: str, update: Update, step: int) -> None:
        """Adds one update; a skipped one is only counted.

        Raises:
            NotFiniteError: More than `nan_limit` were skipped in a row. With a gradient scaler, `read` raises it.
        """
        self._skipped[phase] = self._skipped.get(phase, 0) + update.skipped
        in_a_row = self._in_a_row[phase] = (self._in_a_row.get(phase, 0) + 1) * update.skipped
        # One skipped update too many is treated like the others, so that what is not finite in it is found.
        counts = (in_a_row == 0) | (in_a_row > self.nan_limit)
        if counts is False:
            return
        if update.skipped is True:
            self._phases, self._steps = {}, []
        self._sum(phase, update, step, counts)
        if update.skipped is True:
            self.read()

    def _sum(self, phase: str, update: Update, step: int, counts: bool | Tensor) -> None:
        names, values = tuple(update.terms), torch.stack([term.float() for term in update.terms.values()])
        if isinstance(counts, Tensor):
            values = values.where(counts, 0.0)
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
        sums.count += counts
        sums.too_many |= counts & update.skipped

    def read(self) -> dict[str, float]:
        """Returns the means over updates and processes since the last read, as "phase/term", and resets them.

        Adds "phase/skipped", the number of skipped updates, if any, and "scale" if there is a gradient scaler. All
        processes must call it together.

        Raises:
            NotFiniteError: A term was not finite on a process, or the scale of a gradient scaler has become too small.
        """
        skipped = {f"{phase}/skipped": float(count) for phase, count in self._skipped.items() if count}
        self._skipped = {}
        if not self._phases:
            return skipped
        means = torch.cat([sums.total / sums.count for sums in self._phases.values()])
        first_bad = torch.cat([sums.first_bad for sums in self._phases.values()])
        names = [(phase, name) for phase, sums in self._phases.items() for name in sums.names]
        everywhere = self.accelerator.gather(torch.stack([means, first_bad])[None]).cpu()
        phases, self._phases = self._phases, {}
        steps, self._steps = self._steps, []
        earliest, ranks = everywhere[:, 1].min(0)
        if earliest.isfinite().any():
            at = int(earliest.argmin())
            phase, name = names[at]
            before = f"\n{self.nan_limit} updates in a row were skipped before" if phases[phase].too_many else ""
            raise NotFiniteError(
                f"{phase}: {name} is not finite from step {steps[int(earliest[at])]} on (first seen on process "
                f"{int(ranks[at])}); the checkpoints are unchanged{before}"
            )
        averages = everywhere[:, 0].mean(0)
        line = {
            f"{phase}/{name}": float(mean)
            for (phase, name), mean in zip(names, averages, strict=True)
            if phases[phase].count  # Otherwise all of its updates were skipped.
        }
        return line | skipped | self._scale(skipped)

    def _scale(self, skipped: dict[str, float]) -> dict[str, float]:
        if self.accelerator.scaler is None:
            return {}
        scale = self.accelerator.scaler.get_scale()
        if scale < LEAST_SCALE:
            raise NotFiniteError(
                f"the gradients overflow in precision fp16, even if the loss is multiplied by only {LEAST_SCALE:g} "
                f"({', '.join(f'{name}: {count:g}' for name, count in skipped.items()) or 'skipped before'}); the "
                "checkpoints are unchanged. Use another precision (bf16), or a lower learning rate"
            )
        return {"scale": scale}
