"""One of two processes on one GPU: python -m tests.gpu.rank FOLDER KEY=VALUE ..."""

import sys
from pathlib import Path
from typing import Any
from unittest.mock import patch

from accelerate import Accelerator
from accelerate.state import PartialState
from rich.console import Console

from gan_core.app import training
from gan_core.distributed.world import join_world
from tests.runs import make_job


def main(folder: Path, variant: str, *assignments: str) -> None:
    """Trains over gloo."""

    def join_over_gloo(*given: Any, **settings: Any) -> Accelerator:
        # In place of the backend of the device, which for GPUs is NCCL.
        with patch("torch.distributed.get_default_backend_for_device", return_value="gloo"):
            accelerator = join_world(*given, **settings)
        # accelerate would gather as with NCCL.
        PartialState._shared_state["backend"] = "gloo"
        print(f"{accelerator.num_processes} processes on {accelerator.device.type}", flush=True)
        return accelerator

    with patch.object(training, "join_world", join_over_gloo):
        job = make_job(*assignments, variant=variant.partition("=")[2], out=folder)
        assert training.start(job, (), Console(quiet=True)) == "finished"


if __name__ == "__main__":
    main(Path(sys.argv[1]), *sys.argv[2:])
