"""Terms between two log points: summed on the device, averaged over processes, and checked for NaN."""

from dataclasses import dataclass, field

import torch
from accelerate import Accelerator
from torch import Tensor

from gan_core.errors import NotFiniteError, UserError
from gan_core.training.phase_trainer import Update
from gan_core.training.scheduled_optimizer import LEAST_SCALE

Count = int | Tensor
"""A count that this process knows, or that is on the device: with a gradient scaler, nothing waits for skips."""


FOLD = 256
"""Updates of a phase that are kept one by one, before they are summed."""


@dataclass
class _Updates:
    """The updates of a phase since the last read.

    Attributes:
        names: The names of its terms.
        at: The number of each update, among those of all phases.
        kept: For the last ones: the terms, whether they count, and whether this process's gradient was finite.
        total: Sums of the earlier ones that count.
        first_bad: For each term, which of the earlier ones was the first that was not finite.
        count: How many of the earlier ones count.
    """

    names: tuple[str, ...]
    at: list[int] = field(default_factory=list)
    kept: list[tuple[Tensor, Count, Tensor]] = field(default_factory=list)
    total: Tensor | float = 0.0
    first_bad: Tensor | float = torch.inf
    count: Count = 0
    too_many: bool | Tensor = False

    def add(self, update: Update, number: int, counts: bool | Tensor) -> None:
        self.at.append(number)
        self.kept.append((torch.stack([*update.terms.values()]), counts, update.finite))
        self.too_many |= counts & update.skipped
        if len(self.kept) == FOLD:
            self.fold()

    def fold(self) -> None:
        """Sums the updates that are kept, in a few operations for all of them."""
        if not self.kept:
            return
        values = torch.stack([values for values, _, _ in self.kept]).float()
        if self.names[-1] == "gradient norm":
            # All processes have the same norm. The 0.5 ranks those whose own gradient was finite after the others.
            late = 0.5 * torch.stack([finite for _, _, finite in self.kept])
        else:
            late = torch.zeros_like(values[:, 0])
        bad = ~values.isfinite()
        first = len(self.at) - len(self.kept)
        if any(isinstance(counts, Tensor) for _, counts, _ in self.kept):
            counted = torch.stack([torch.as_tensor(counts, device=values.device) for _, counts, _ in self.kept])
            values, bad = values.where(counted[:, None], 0.0), bad & counted[:, None]
            self.count = self.count + counted.sum()
        else:
            self.count = self.count + len(self.kept)
        order = torch.arange(first, len(self.at), device=values.device, dtype=values.dtype)[:, None].expand_as(values)
        order = torch.cat([order[:, :-1], order[:, -1:] + late[:, None]], 1)
        self.total = values.sum(0) + self.total
        self.first_bad = order.where(bad, torch.inf).amin(0).clamp(max=self.first_bad)
        self.kept.clear()


class Meter:
    """Accumulates the terms of every phase, without synchronising with the device until they are read."""

    def __init__(self, accelerator: Accelerator, nan_limit: int) -> None:
        """Stores how many updates of a phase may be skipped in a row; the count restarts after a resume."""
        self.accelerator, self.nan_limit = accelerator, nan_limit
        self._phases: dict[str, _Updates] = {}
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
        names = tuple(update.terms)
        updates = self._phases.setdefault(phase, _Updates(names))
        if updates.names != names:
            raise UserError(f"phase {phase!r} must return the same terms in every update: {updates.names}, now {names}")
        updates.add(update, len(self._steps), counts)
        self._steps.append(step)

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
        for updates in self._phases.values():
            updates.fold()
        means = torch.cat([torch.as_tensor(updates.total / updates.count) for updates in self._phases.values()])
        first_bad = torch.cat([torch.as_tensor(updates.first_bad) for updates in self._phases.values()])
        names = [(phase, name) for phase, updates in self._phases.items() for name in updates.names]
        everywhere = self.accelerator.gather(torch.stack([means, first_bad])[None]).cpu()
        phases, self._phases = self._phases, {}
        steps, self._steps = self._steps, []
        # Which update of its phase was the first that was not finite: on which process, and when among all updates.
        earliest, ranks = everywhere[:, 1].min(0)
        found = [
            (phases[phase].at[int(row)], row % 1, at)
            for at, ((phase, _), row) in enumerate(zip(names, earliest.tolist(), strict=True))
            if row < torch.inf
        ]
        if found:
            number, _, at = min(found)
            phase, name = names[at]
            before = f"\n{self.nan_limit} updates in a row were skipped before" if phases[phase].too_many else ""
            raise NotFiniteError(
                f"{phase}: {name} is not finite from step {steps[number]} on (first seen on process "
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
