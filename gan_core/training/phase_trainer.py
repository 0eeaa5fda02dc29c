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

from gan_core.distributed.collectives import stays_awake, wait_awake
from gan_core.distributed.exchange import current
from gan_core.errors import TrainingError
from gan_core.game.batch import Batch
from gan_core.precision import tf32_restored
from gan_core.training.phase_module import PhaseModule
from gan_core.training.schedule import Schedule
from gan_core.training.scheduled_optimizer import ScheduledOptimizer
from gan_core.training.shared_fakes import SharedFakes, layers_of
from gan_core.training.snapshot import Snapshot


@dataclass(frozen=True, kw_only=True, slots=True)
class Update:
    """The result of one update.

    Attributes:
        terms: The phase's terms on this process, detached, and "gradient norm", over all processes.
        finite: Whether this process's share of the gradient was finite: a bool on the device.
        skipped: Whether the update was skipped, with nothing changed, because the gradient was not finite: with a
            gradient scaler (precision fp16) a bool on the device, because nothing waits for it.
    """

    terms: dict[str, Tensor]
    finite: Tensor
    skipped: bool | Tensor = False


class PhaseTrainer:
    """Trains one phase: its module, wrapped by accelerate, and its optimizer."""

    def __init__(
        self,
        module: PhaseModule,
        accelerator: Accelerator,
        lr: Schedule,
        clip_norm: float | None,
        snapshot: Callable[..., Snapshot] | None = None,
        shared: ScheduledOptimizer | None = None,
        fakes: SharedFakes | None = None,
    ) -> None:
        """Wraps the phase and makes its optimizer.

        Args:
            module: The phase, on its device.
            accelerator: The run's accelerator.
            lr: The factor on the optimizer's learning rates, by images seen.
            clip_norm: The maximum gradient norm, or None.
            snapshot: Copies the other state that an update changes. If given, updates whose gradient is not finite are
                skipped; without a gradient scaler each update then waits for the device. With one it is required.
            shared: The optimizer of the phase that `Phase.optimizer` names.
            fakes: Makes the fakes of all phases.
        """
        self.phase, self.plain, self.accelerator = module.phase, module, accelerator
        self.fakes = fakes or SharedFakes([module], accelerator.autocast)
        self.clip_norm, self.snapshot = clip_norm, snapshot
        assert accelerator.scaler is None or snapshot is not None
        module.freeze_others()
        with warnings.catch_warnings():
            # torch 2.14 renamed the argument; accelerate still passes the old name.
            warnings.filterwarnings("ignore", "`broadcast_buffers` is deprecated")
            self.module = accelerator.prepare_model(module, device_placement=accelerator.device_placement)
        self._reduction = _Reduction(finite=torch.ones((), dtype=torch.bool, device=accelerator.device))
        if isinstance(self.module, DistributedDataParallel):
            self._reduction.group = self.module.process_group
            # Not a method: torch's reducer would hold this object, and this the reducer, and neither would be freed.
            self.module.register_comm_hook(self._reduction, _all_reduce)
        make = module.phase.optimizer
        if isinstance(make, str):
            assert shared is not None
            self.optimizer = shared
        else:
            self.optimizer = ScheduledOptimizer(make, module.trained, accelerator, lr)

    @tf32_restored()
    def update(self, micro_batches: Sequence[Batch], images_seen: int) -> Update:
        """Takes one optimizer step. Waits for the device only if updates may be skipped and there is no scaler.

        Gradients are averaged over the micro-batches, and reduced over processes only after the last one.

        Raises:
            TrainingError: On several processes, a trained parameter got no gradient. No weight was changed.
        """
        scaled, after = self.accelerator.scaler is not None, self.phase.after
        before = None if self.snapshot is None else self.snapshot(weights=scaled and after is not None)
        reduction = self._reduction
        if reduction.group is not None:  # Without other processes, nothing changes it.
            reduction.finite = torch.ones_like(reduction.finite)
            reduction.parameters = 0
        tune = self.phase.tune
        self.optimizer.begin(images_seen, {} if tune is None else tune(micro_batches[-1].moment))
        parts = []
        for number, given in enumerate(micro_batches, start=1):
            last = number == len(micro_batches)
            batch = self.fakes.filled(self.phase, given)
            self.plain.freeze_others()
            with nullcontext() if last else self.accelerator.no_sync(self.module), layers_of(given):
                total, terms = self.module(batch)
                self._backward(total / len(micro_batches) if len(micro_batches) > 1 else total)
            parts.append(terms)
        self._check_reached()
        terms = parts[0] if len(parts) == 1 else _means(parts)
        terms["gradient norm"] = norm = self._gradient_norm()
        finite = reduction.finite if before is None else norm.isfinite()  # Needed only where an update may be skipped.
        if before is not None and not scaled and not finite:
            before.restore(finite)
            return Update(terms=terms, finite=reduction.finite, skipped=True)
        if self.clip_norm is not None:
            torch.nn.utils.clip_grads_with_norm_(self.plain.trained, self.clip_norm, norm)
        self.optimizer.step(finite)
        self.fakes.stepped(self.phase)
        if after is not None:
            reduced = {name: self.accelerator.reduce(term, "mean") for name, term in terms.items()}
            with torch.no_grad():
                more = after(self.plain.by_name, reduced, batch) or {}
            terms = {**{name: term.detach().reshape(()) for name, term in more.items()}, **terms}
        if before is None or not scaled:
            return Update(terms=terms, finite=reduction.finite)
        before.restore(finite)
        return Update(terms=terms, finite=reduction.finite, skipped=~finite)

    def _backward(self, total: Tensor) -> None:
        scaler = self.accelerator.scaler
        (total if scaler is None else scaler.scale(total)).backward()

    def _check_reached(self) -> None:
        """Checks that the backward pass has reached every parameter: for the others, the processes wait in vain."""
        if self._reduction.group is None or self._reduction.parameters == len(self.plain.trained):
            return
        names = {id(p): f"{n}.{key}" for n, net in self.plain.networks.items() for key, p in net.named_parameters()}
        # With micro-batches, a gradient may be that of an earlier one.
        missing = [names[id(p)] for p in self.plain.trained if p.grad is None] or ["of the last micro-batch"]
        raise TrainingError(
            f"phase {self.phase.name!r}: parameters that had a gradient in the first update have none in this one: "
            f"{', '.join(missing[:10])}{f' and {len(missing) - 10} more' if len(missing) > 10 else ''}. Several "
            "processes need a gradient of every parameter in every update: use each layer always, or add "
            "0 * parameter.sum() to a term for those that are skipped"
        )

    def _gradient_norm(self) -> Tensor:
        self.optimizer.unscale()
        gradients = [p.grad for p in self.plain.trained if p.grad is not None]
        if not gradients:
            return torch.zeros((), device=self.accelerator.device)
        norm: Tensor = torch.linalg.vector_norm(torch.stack(torch._foreach_norm(gradients)))
        return norm


def _means(parts: Sequence[dict[str, Tensor]]) -> dict[str, Tensor]:
    return {name: torch.stack([part[name] for part in parts]).mean() for name in parts[0]}


@dataclass(kw_only=True, slots=True)
class _Reduction:
    """What the processes' gradients were, while they were averaged in an update.

    Attributes:
        finite: Whether this process's gradients are finite: a bool on the device.
        parameters: Parameters whose gradients were averaged.
        group: The processes.
    """

    finite: Tensor
    parameters: int = 0
    group: ProcessGroup | None = None


def _all_reduce(state: _Reduction, bucket: GradBucket) -> torch.futures.Future[Tensor]:
    """Averages gradients over all processes of the group, and records them.

    Two processes of one machine send them directly, in less time than gloo takes; for more, gloo sends fewer bytes.
    """
    assert state.group is not None
    # A sum is NaN or infinite if a term is: one fast pass, where `isfinite` makes several. It also is if the sum is too
    # large for the type, but then the gradient's norm has long been.
    state.finite = state.finite & bucket.buffer().sum().isfinite()
    state.parameters += len(bucket.parameters())
    if (exchange := current()) is not None and state.group.size() == 2:
        exchange.add_other(bucket.buffer().div_(2))
        averaged: torch.futures.Future[Tensor] = torch.futures.Future()
        averaged.set_result(bucket.buffer())
        return averaged
    future = allreduce_hook(state.group, bucket)
    if bucket.is_last() and stays_awake(bucket.buffer().device):  # Nothing is left to compute meanwhile.
        wait_awake(future.done)
    return future
