"""The process group of a run and the device of each process, through accelerate."""

import os
from datetime import timedelta
from pathlib import Path

import torch
from accelerate import Accelerator
from accelerate.utils import DistributedDataParallelKwargs
from torch import distributed

from gan_core.cores import threads_of_process
from gan_core.distributed.launcher import started_processes
from gan_core.distributed.rendezvous import Rendezvous
from gan_core.errors import UserError
from gan_core.randomness import Share

_MIXED = {"fp32": "no", "fp64": "no", "bf16": "bf16", "fp16": "fp16"}


def on_cpu() -> bool:
    """Returns whether networks run on CPUs: no accelerator is available, or `accelerate launch --cpu` was used."""
    requested = os.environ.get("ACCELERATE_USE_CPU", "").lower() in ("1", "true", "yes", "y", "on", "t")
    return requested or not torch.accelerator.is_available()


def join_world(
    rendezvous: Rendezvous, *, precision: str, threads: int | None, tracker: str | None, folder: Path
) -> Accelerator:
    """Sets up the process group, or a single process.

    Args:
        rendezvous: The processes of the launch.
        precision: "fp32", "bf16", "fp16" or "fp64".
        threads: CPU threads of each process; None divides the machine's cores among its processes.
        tracker: The tracker named by `--track`, or None.
        folder: Where trackers may write files.

    Raises:
        UserError: The launcher was given another precision, or started another number of processes.
    """
    launched = os.environ.get("ACCELERATE_MIXED_PRECISION", "no")
    if launched not in ("no", _MIXED[precision]):
        raise UserError(
            f"precision: accelerate was launched for {launched}, but the run's precision is {precision!r}: "
            f"pass --precision {launched} to gan_core"
        )
    if (store := rendezvous.group_store) is not None:
        device = "cpu" if on_cpu() else torch.accelerator.current_accelerator() or "cpu"
        distributed.init_process_group(
            distributed.get_default_backend_for_device(device),
            store=store,
            rank=rendezvous.rank,
            world_size=rendezvous.world,
            timeout=timedelta(seconds=rendezvous.deadline),
        )
    accelerator = Accelerator(
        # Otherwise two processes on a machine without a GPU become two runs that write the same files.
        cpu=on_cpu(),
        mixed_precision=_MIXED[precision],
        log_with=tracker,
        project_dir=folder,
        # Buffers need no broadcast before each forward: they are already equal, or local on purpose.
        kwargs_handlers=[DistributedDataParallelKwargs(broadcast_buffers=False)],
    )
    if accelerator.num_processes != started_processes():
        raise UserError(
            f"the launcher started {started_processes()} processes, but only {accelerator.num_processes} joined: "
            "launch with torchrun or with a config file from launch/"
        )
    # Launchers set one thread per process, even if the machine runs only one process.
    torch.set_num_threads(threads_of_process(threads))
    return accelerator


def share_of(accelerator: Accelerator) -> Share:
    """Returns this process's share of every global batch."""
    return Share(rank=accelerator.process_index, world=accelerator.num_processes)


def describe(accelerator: Accelerator) -> str:
    """Describes the processes, their device and threads: the first line that a run prints."""
    count, device = accelerator.num_processes, accelerator.device
    hardware = torch.cuda.get_device_name(device) if device.type == "cuda" else device.type.upper()
    threads = torch.get_num_threads()
    return (
        f"{count} process{'es' if count > 1 else ''} on {hardware} ({threads} thread{'s' if threads > 1 else ''} each)"
    )


def dtype_of(precision: str) -> torch.dtype:
    """Returns the floating-point type of batches and weights: float64 for "fp64", else float32."""
    return torch.float64 if precision == "fp64" else torch.float32
