"""The optimizer of one phase, or of the phases that share it, with its learning rate schedule."""

from collections.abc import Mapping, Sequence
from copy import deepcopy
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor, nn
from torch.optim import Optimizer

from gan_core.errors import UserError
from gan_core.game.phase import MakeOptimizer
from gan_core.training.optimizer_state import check_shapes, merged, settings_of
from gan_core.training.schedule import Schedule

LEAST_SCALE = 1.0
"""A gradient scaler below this scale is an error: below it, gradients become smaller than they are without one."""


class ScheduledOptimizer:
    """An optimizer whose learning rates follow a schedule, and its state in a checkpoint."""

    def __init__(
        self, make: MakeOptimizer, parameters: Sequence[nn.Parameter], accelerator: Accelerator, schedule: Schedule
    ) -> None:
        """Makes the optimizer.

        Args:
            make: Makes it from the parameters.
            parameters: The parameters, each once.
            accelerator: The run's accelerator.
            schedule: The factor on its learning rates, by images seen.
        """
        self.make, self.parameters, self.accelerator, self.schedule = make, parameters, accelerator, schedule
        self.optimizer: Optimizer = make(parameters)
        self._made = deepcopy(settings_of(self.optimizer))
        self._tuned: set[str] = set()
        self._started = False

    def begin(self, images_seen: int, tuned: Mapping[str, Any]) -> None:
        """Clears the gradients, and sets the learning rates and what `Phase.tune` returned for an update."""
        for parameter in self.parameters:
            parameter.grad = None
        for group, made in zip(self.optimizer.param_groups, self._made, strict=True):
            if unknown := tuned.keys() - made.keys():
                raise UserError(f"tune: the optimizer has no setting {min(unknown)!r}, only {', '.join(made)}")
            group.update({key: made[key] for key in self._tuned - tuned.keys()})  # They held for the last update.
            group.update(tuned)
            group["lr"] = tuned.get("lr", made["lr"]) * self.schedule(images_seen)
        self._tuned = set(tuned)

    def unscale(self) -> None:
        """Divides the gradients by the scale of the loss (precision fp16); needed before they are read."""
        if self.accelerator.scaler is not None:
            self.accelerator.scaler.unscale_(self.optimizer)

    def step(self, finite: Tensor) -> None:
        """Takes one step; with a gradient scaler only if `finite`, a bool on the device, and adapts the scale."""
        scaler = self.accelerator.scaler
        if scaler is None:
            self.optimizer.step()
            return
        # The scaler looks at the gradients before it divides them by the scale, and does not see their norm overflow.
        for found in scaler._found_inf_per_device(self.optimizer).values():
            found.copy_(~finite)
        # torch's fused SGD leaves its momentum uninitialised if its first step is skipped. So no optimizer gets to see
        # a gradient that is not finite before its first step; until then, each update waits for the device.
        self._started = self._started or bool(finite)
        if self._started:
            scaler.step(self.optimizer)
        scaler.update()
        # A phase whose gradients are never finite must not halve the scale of all phases to 0 until that is noticed.
        scaler.update(scaler.scale(torch.ones_like(finite, dtype=torch.float32)).clamp(min=LEAST_SCALE / 2))

    @property
    def learning_rate(self) -> float:
        """The learning rate of the last update, of the first parameter group."""
        return float(self.optimizer.param_groups[0]["lr"])

    def state_dict(self) -> dict[str, Any]:
        """Returns the optimizer's state, and in "made" the settings with which it was made.

        Settings that are tuned are saved as they were made: `Phase.tune` returns them again for the next update.
        """
        state = dict(self.optimizer.state_dict())
        groups = zip(state["param_groups"], self._made, strict=True)
        untuned = [{**group, **{key: made[key] for key in self._tuned - {"lr"}}} for group, made in groups]
        return {**state, "param_groups": untuned, "made": self._made}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restores the optimizer's state, except settings that the variant now makes differently.

        Raises:
            ValueError: It is the state of another optimizer or of other parameters.
        """
        check_shapes(state["state"], self.make, self.parameters)
        groups = merged(state["param_groups"], state.get("made"), self._made)
        self.optimizer.load_state_dict({"state": state["state"], "param_groups": groups})
