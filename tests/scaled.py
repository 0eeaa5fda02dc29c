"""Precision fp16 on a CPU: autocast to float16 and torch's own scaler, which accelerate makes only for GPUs."""

import pytest
import torch
from accelerate import Accelerator
from accelerate.utils import GradScalerKwargs

from gan_core.app import job
from gan_core.distributed import world


class ScaledAccelerator(Accelerator):
    """accelerate's, with what its constructor does for fp16 on a GPU."""

    def __init__(self, **settings: object) -> None:
        super().__init__(**settings)  # type: ignore[arg-type]
        if self.mixed_precision == "fp16":
            assert not self.native_amp
            self.native_amp = True
            arguments = {} if self.scaler_handler is None else self.scaler_handler.to_kwargs()
            self.scaler = torch.amp.GradScaler("cpu", **arguments)


def scaled_accelerator(init_scale: float = 2.0**15) -> Accelerator:
    """Returns an accelerator of one process."""
    scaling = GradScalerKwargs(init_scale=init_scale)
    return ScaledAccelerator(cpu=True, mixed_precision="fp16", kwargs_handlers=[scaling])


def use_scaler(patch: pytest.MonkeyPatch) -> None:
    """Lets runs have the precision fp16 on a CPU."""
    patch.setattr(world, "Accelerator", ScaledAccelerator)
    patch.setattr(job, "on_cpu", lambda: False)
