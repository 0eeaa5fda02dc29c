"""The processes of this run and the device of each, through accelerate."""

import os
from datetime import timedelta
from pathlib import Path

import torch
from accelerate import Accelerator
from accelerate.utils import DistributedDataParallelKwargs
from torch import Tensor, distributed

from gan_core.distributed.launcher import started_processes
from gan_core.distributed.roll import Roll
from gan_core.errors import UserError
from gan_core.randomness import Share

_MIXED = {"fp32": "no", "fp64": "no", "bf16": "bf16", "fp16": "fp16"}


def on_cpu() -> bool:
    """Says whether networks are computed on CPUs: where there is no accelerator, or `accelerate launch --cpu` asks."""
    asked = os.environ.get("ACCELERATE_USE_CPU", "").lower() in ("1", "true", "yes", "y", "on", "t")
    return asked or not torch.accelerator.is_available()


def join_world(roll: Roll, *, precision: str, threads: int | None, tracker: str | None, folder: Path) -> Accelerator:
    """Joins the other processes of the launch, or starts alone.

    Args:
        roll: The processes, who have found each other.
        precision: "fp32", "bf16", "fp16" or "fp64".
        threads: CPU threads of each process; None shares this machine's cores out among its processes.
        tracker: What `--track` named, or None.
        folder: Where trackers may write files.

    Raises:
        UserError: The launcher was asked for something else.
    """
    launched = os.environ.get("ACCELERATE_MIXED_PRECISION", "no")
    if launched not in ("no", _MIXED[precision]):
        raise UserError(
            f"precision: accelerate was launched for {launched}, but the run's precision is {precision!r}: "
            f"give --precision {launched} to gan_core"
        )
    if (place := roll.meeting_place) is not None:
        device = "cpu" if on_cpu() else torch.accelerator.current_accelerator() or "cpu"
        distributed.init_process_group(
            distributed.get_default_backend_for_device(device),
            store=place,
            rank=roll.rank,
            world_size=roll.world,
            timeout=timedelta(seconds=roll.deadline),
        )
    accelerator = Accelerator(
        # Without this, two processes on a machine with no GPU become two runs that write the same files.
        cpu=on_cpu(),
        mixed_precision=_MIXED[precision],
        log_with=tracker,
        project_dir=folder,
        # Buffers are not broadcast before each forward: ours are equal anyway, or local on purpose.
        kwargs_handlers=[DistributedDataParallelKwargs(broadcast_buffers=False)],
    )
    if accelerator.num_processes != started_processes():
        raise UserError(
            f"the launcher started {started_processes()} processes, but {accelerator.num_processes} found each other: "
            "launch with torchrun or with a config file from launch/"
        )
    # Launchers set one thread a process, also where that process has the machine to itself.
    here = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    torch.set_num_threads(threads or max(1, _cores() // here))
    return accelerator


def share_of(accelerator: Accelerator) -> Share:
    """Returns which part of every global batch is this process's."""
    return Share(rank=accelerator.process_index, world=accelerator.num_processes)


def describe(accelerator: Accelerator) -> str:
    """Returns the first line of a run: how many processes there truly are, on what."""
    count, device = accelerator.num_processes, accelerator.device
    hardware = torch.cuda.get_device_name(device) if device.type == "cuda" else device.type.upper()
    threads = torch.get_num_threads()
    return (
        f"{count} process{'es' if count > 1 else ''} on {hardware} ({threads} thread{'s' if threads > 1 else ''} each)"
    )


def blank(device: torch.device, precision: str) -> Tensor:
    """Returns an empty tensor of the device and dtype in which images are dealt."""
    return torch.empty(0, device=device, dtype=torch.float64 if precision == "fp64" else torch.float32)


def _cores() -> int:
    """Returns how many cores this process may use; macOS and Windows cannot tell, and count all."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
