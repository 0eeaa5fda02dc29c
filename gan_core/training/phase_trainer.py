"""The training of one phase. All gradients are computed, scaled, clipped and applied in `PhaseTrainer.update`."""

import warnings
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass

import torch
from accelerate import Accelerator
from torch import Tensor
from torch.distributed import GradBucket, ProcessGroup  # type: ignore[attr-defined]  # Not in __all__.
from torch.distributed.algorithms.ddp_comm_hooks.default_hooks import allreduce_hook
from torch.nn.parallel import DistributedDataParallel

from gan_core.game.batch import Batch
from gan_core.training.phase_module import PhaseModule
from gan_core.training.schedule import Schedule
from gan_core.training.scheduled_optimizer import ScheduledOptimizer


@dataclass(frozen=True, kw_only=True, slots=True)
class Update:
    """The result of one update.

    Attributes:
        terms: The phase's terms on this process, detached, and "gradient norm", over all processes.
        finite: Whether this process's share of the gradient was finite: a bool on the device.
        skipped: Whether the update was skipped, with nothing changed, because the gradient was not finite.
    """

    terms: dict[str, Tensor]
    finite: Tensor
    skipped: bool = False


class PhaseTrainer:
    """Trains one phase: its module, wrapped by accelerate, and its optimizer."""

    def __init__(
        self,
        module: PhaseModule,
        accelerator: Accelerator,
        lr: Schedule,
        clip_norm: float | None,
        snapshot: Callable[[], Callable[[], None]] | None = None,
        shared: ScheduledOptimizer | None = None,
    ) -> None:
        """Wraps the phase and makes its optimizer.

        Args:
            module: The phase, on its device.
            accelerator: The run's accelerator.
            lr: The factor on the optimizer's learning rates, by images seen.
            clip_norm: The maximum gradient norm, or None.
            snapshot: Copies the other state that an update changes, and returns the function that restores it. If
                given, updates whose gradient is not finite are skipped; each update then synchronises with the device.
            shared: The optimizer of the phase that `Phase.optimizer` names.
        """
        self.phase, self.plain, self.accelerator = module.phase, module, accelerator
        self.clip_norm, self.snapshot = clip_norm, snapshot
        module.freeze_others()
        with warnings.catch_warnings():
            # torch 2.14 renamed the argument; accelerate still passes the old name.
            warnings.filterwarnings("ignore", "`broadcast_buffers` is deprecated")
            self.module = accelerator.prepare(module)
        self._finite = torch.ones((), dtype=torch.bool, device=accelerator.device)
        if isinstance(self.module, DistributedDataParallel):
            # Not a method: torch's reducer would hold this object, and this the reducer, and neither would be freed.
            self.module.register_comm_hook((self.module.process_group, self._finite), _all_reduce)
        make = module.phase.optimizer
        if isinstance(make, str):
            assert shared is not None
            self.optimizer = shared
        else:
            self.optimizer = ScheduledOptimizer(make, module.trained, accelerator, lr)

    def update(self, micro_batches: Sequence[Batch], images_seen: int) -> Update:
        """Takes one optimizer step. Synchronises with the device only if updates may be skipped.

        Gradients are averaged over the micro-batches, and reduced over processes only after the last one.
        """
        self.plain.freeze_others()
        restore = self.snapshot() if self.snapshot is not None else None
        self._finite.fill_(True)
        self.optimizer.begin(images_seen)
        parts = []
        for batch in micro_batches:
            last = batch is micro_batches[-1]
            with nullcontext() if last else self.accelerator.no_sync(self.module):
                total, terms = self.module(batch)
                self.accelerator.backward(total / len(micro_batches))
            parts.append(terms)
        terms = {name: torch.stack([part[name] for part in parts]).mean() for name in parts[0]}
        # With fp16 an overflow is normal: the scaler skips that step and lowers its scale.
        norm = self._gradient_norm()
        if self.accelerator.scaler is None:
            terms["gradient norm"] = norm
        if restore is not None and not norm.isfinite():
            restore()
            return Update(terms=terms, finite=self._finite, skipped=True)
        if self.clip_norm is not None:
            torch.nn.utils.clip_grads_with_norm_(self.plain.trained, self.clip_norm, norm)
        self.optimizer.step()
        if self.phase.after is not None:
            reduced = {name: self.accelerator.reduce(term, "mean") for name, term in terms.items()}
            with torch.no_grad():
                self.phase.after(dict(self.plain.networks.items()), reduced)
        return Update(terms=terms, finite=self._finite)

    def _gradient_norm(self) -> Tensor:
        self.optimizer.unscale()
        return torch.nn.utils.get_total_norm([p.grad for p in self.plain.trained if p.grad is not None])


def _all_reduce(state: tuple[ProcessGroup, Tensor], bucket: GradBucket) -> torch.futures.Future[Tensor]:
    """Averages gradients over all processes of the group, and records whether this process's were finite."""
    group, finite = state
    finite &= bucket.buffer().isfinite().all()
    return allreduce_hook(group, bucket)
