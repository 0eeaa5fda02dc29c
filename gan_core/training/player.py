"""A player: one phase with its optimizer, ready to take its turns."""

import warnings
from collections.abc import Sequence
from contextlib import nullcontext
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor

from gan_core.game.batch import Batch
from gan_core.training.phase_module import PhaseModule
from gan_core.training.schedule import Schedule


class Player:
    """Plays a phase: the one place where gradients are computed, scaled, clipped and applied."""

    def __init__(self, module: PhaseModule, accelerator: Accelerator, lr: Schedule, clip_norm: float | None) -> None:
        """Wraps the phase for all processes and makes its optimizer.

        Args:
            module: The phase, on its device.
            accelerator: This run's processes.
            lr: The factor on the optimizer's learning rates by images seen.
            clip_norm: The largest gradient norm, or None.
        """
        self.phase, self.plain, self.accelerator = module.phase, module, accelerator
        self.lr, self.clip_norm = lr, clip_norm
        module.play_alone()
        with warnings.catch_warnings():
            # torch 2.14 renamed the argument; accelerate knows only the old name.
            warnings.filterwarnings("ignore", "`broadcast_buffers` is deprecated")
            self.module = accelerator.prepare(module)
        self.optimizer = accelerator.prepare(module.phase.optimizer(module.trained))
        self._base_lrs = [group["lr"] for group in self.optimizer.param_groups]

    def play(self, micro_batches: Sequence[Batch], images_seen: int) -> dict[str, Tensor]:
        """Takes one turn and returns its terms, detached, with the gradient's norm; nothing waits for the device.

        Several micro-batches make one step: their gradients are averaged, and exchanged only after the last.
        """
        self.plain.play_alone()
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
        terms |= self._step()
        if self.phase.after is not None:
            reduced = {name: self.accelerator.reduce(term, "mean") for name, term in terms.items()}
            with torch.no_grad():
                self.phase.after(dict(self.plain.networks.items()), reduced)
        return terms

    def _step(self) -> dict[str, Tensor]:
        self.accelerator.unscale_gradients(self.optimizer)
        gradients = [p.grad for p in self.plain.trained if p.grad is not None]
        norm = torch.nn.utils.get_total_norm(gradients)
        if self.clip_norm is not None:
            torch.nn.utils.clip_grads_with_norm_(self.plain.trained, self.clip_norm, norm)
        self.optimizer.step()
        # With fp16 an overflow is an ordinary event: the scaler skips that step and lowers its scale.
        return {} if self.accelerator.scaler is not None else {"gradient norm": norm}

    def state_dict(self) -> dict[str, Any]:
        """Returns the optimizer's state, tensors and plain values only."""
        state: dict[str, Any] = self.optimizer.state_dict()
        return state

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Takes the moments back, but not the settings: these are the variant's, as they are now."""
        now = self.optimizer.state_dict()["param_groups"]
        groups = [{**fresh, "params": saved["params"]} for fresh, saved in zip(now, state["param_groups"], strict=True)]
        self.optimizer.load_state_dict({**state, "param_groups": groups})
