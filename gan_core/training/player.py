"""A player: one phase with its optimizer, ready to take its turns."""

import warnings
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor
from torch.distributed import GradBucket  # type: ignore[attr-defined]  # It does not list it.
from torch.distributed.algorithms.ddp_comm_hooks.default_hooks import allreduce_hook
from torch.nn.parallel import DistributedDataParallel

from gan_core.game.batch import Batch
from gan_core.training.phase_module import PhaseModule
from gan_core.training.schedule import Schedule


@dataclass(frozen=True, kw_only=True, slots=True)
class Turn:
    """What came of one turn.

    Attributes:
        terms: The phase's terms on this process, detached, with the gradient's norm over all processes.
        own_gradient: Whether this process's share of the gradient was finite: a bool on the device.
        skipped: Whether the gradient was not finite and the turn left no trace.
    """

    terms: dict[str, Tensor]
    own_gradient: Tensor
    skipped: bool = False


class Player:
    """Plays a phase: the one place where gradients are computed, scaled, clipped and applied."""

    def __init__(
        self,
        module: PhaseModule,
        accelerator: Accelerator,
        lr: Schedule,
        clip_norm: float | None,
        snapshot: Callable[[], Callable[[], None]] | None = None,
    ) -> None:
        """Wraps the phase for all processes and makes its optimizer.

        Args:
            module: The phase, on its device.
            accelerator: This run's processes.
            lr: The factor on the optimizer's learning rates by images seen.
            clip_norm: The largest gradient norm, or None.
            snapshot: Copies what else a turn changes, and returns what puts it back. With it, turns are skipped whose
                gradient is not finite; the device is waited for at each.
        """
        self.phase, self.plain, self.accelerator = module.phase, module, accelerator
        self.lr, self.clip_norm, self.snapshot = lr, clip_norm, snapshot
        module.play_alone()
        with warnings.catch_warnings():
            # torch 2.14 renamed the argument; accelerate knows only the old name.
            warnings.filterwarnings("ignore", "`broadcast_buffers` is deprecated")
            self.module = accelerator.prepare(module)
        if isinstance(self.module, DistributedDataParallel):
            self.module.register_comm_hook(None, self._exchange)
        self.optimizer = accelerator.prepare(module.phase.optimizer(module.trained))
        self._base_lrs = [group["lr"] for group in self.optimizer.param_groups]
        self._own_gradient = torch.ones((), dtype=torch.bool, device=accelerator.device)

    def play(self, micro_batches: Sequence[Batch], images_seen: int) -> Turn:
        """Takes one turn; unless turns may be skipped, nothing waits for the device.

        Several micro-batches make one step: their gradients are averaged, and exchanged only after the last.
        """
        self.plain.play_alone()
        put_back = self.snapshot() if self.snapshot is not None else None
        self._own_gradient.fill_(True)
        self.optimizer.zero_grad()
        for group, base in zip(self.optimizer.param_groups, self._base_lrs, strict=True):
            group["lr"] = base * self.lr(images_seen)
        parts = []
        for batch in micro_batches:
            last = batch is micro_batches[-1]
            with nullcontext() if last else self.accelerator.no_sync(self.module):
                total, terms = self.module(batch)
                self.accelerator.backward(total / len(micro_batches))
            parts.append(terms)
        terms = {name: torch.stack([part[name] for part in parts]).mean() for name in parts[0]}
        # With fp16 an overflow is an ordinary event: the scaler skips that step and lowers its scale.
        norm = self._gradient_norm()
        if self.accelerator.scaler is None:
            terms["gradient norm"] = norm
        if put_back is not None and not norm.isfinite():
            put_back()
            return Turn(terms=terms, own_gradient=self._own_gradient, skipped=True)
        if self.clip_norm is not None:
            torch.nn.utils.clip_grads_with_norm_(self.plain.trained, self.clip_norm, norm)
        self.optimizer.step()
        if self.phase.after is not None:
            reduced = {name: self.accelerator.reduce(term, "mean") for name, term in terms.items()}
            with torch.no_grad():
                self.phase.after(dict(self.plain.networks.items()), reduced)
        return Turn(terms=terms, own_gradient=self._own_gradient)

    def _gradient_norm(self) -> Tensor:
        self.accelerator.unscale_gradients(self.optimizer)
        return torch.nn.utils.get_total_norm([p.grad for p in self.plain.trained if p.grad is not None])

    def _exchange(self, state: None, bucket: GradBucket) -> torch.futures.Future[Tensor]:
        """Averages gradients over all processes, as ever, and remembers whether this one's were finite."""
        del state
        self._own_gradient &= bucket.buffer().isfinite().all()
        return allreduce_hook(self.module.process_group, bucket)

    def state_dict(self) -> dict[str, Any]:
        """Returns the optimizer's state, tensors and plain values only."""
        state: dict[str, Any] = self.optimizer.state_dict()
        return state

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Takes the moments back, but not the settings: these are the variant's, as they are now."""
        now = self.optimizer.state_dict()["param_groups"]
        groups = [{**fresh, "params": saved["params"]} for fresh, saved in zip(now, state["param_groups"], strict=True)]
        self.optimizer.load_state_dict({**state, "param_groups": groups})
