"""The process group of a run and the device of each process, through accelerate."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState, GradientState
from accelerate.utils import DistributedDataParallelKwargs, GradScalerKwargs
from torch import distributed

from gan_core.cores import keep_to_own_cores, threads_of_process, use_all_cores
from gan_core.distributed.connect import connect
from gan_core.distributed.exchange import use
from gan_core.distributed.launcher import started_processes
from gan_core.distributed.rendezvous import Rendezvous
from gan_core.errors import UserError
from gan_core.randomness import Share

_MIXED = {"fp32": "no", "fp64": "no", "bf16": "bf16", "fp16": "fp16"}


def on_cpu() -> bool:
    """Returns whether networks run on CPUs: no accelerator is available, or `accelerate launch --cpu` was used."""
    requested = os.environ.get("ACCELERATE_USE_CPU", "").lower() in ("1", "true", "yes", "y", "on", "t")
    return requested or not torch.accelerator.is_available()


def check_float64(precision: str, device: torch.device | None = None) -> None:
    """Checks that the device has float64 if the precision is fp64; None is the device on which networks would run.

    Raises:
        UserError: It has not.
    """
    if device is None and not on_cpu():
        device = torch.accelerator.current_accelerator()
    if precision == "fp64" and device is not None and device.type == "mps":
        raise UserError(
            "precision: 'fp64' is not allowed on an Apple GPU (MPS), which has no float64. Use fp32, or train on the "
            "CPU with ACCELERATE_USE_CPU=1"
        )


def check_devices() -> None:
    """Checks that every process of this machine has a GPU of its own, or that all run on CPUs.

    Raises:
        UserError: The launcher started more processes than there are visible GPUs; accelerate would give two processes
            the same one, which NCCL does not allow.
    """
    if on_cpu():
        return
    visible, rank = torch.accelerator.device_count(), int(os.environ.get("LOCAL_RANK", "0"))
    started = max(int(os.environ.get("LOCAL_WORLD_SIZE", "1")), rank + 1)
    if started > visible:
        word = "GPU" if visible == 1 else "GPUs"
        raise UserError(
            f"this machine has {started} processes, and this one (LOCAL_RANK={rank}) sees {visible} {word}. Start at "
            f"most {visible}: accelerate launch --num_processes {visible}, or torchrun --nproc_per_node {visible}.\n"
            "To train on CPUs, put ACCELERATE_USE_CPU=1 before the same command.\n"
            "If there are more GPUs, let every process see all of them: CUDA_VISIBLE_DEVICES, or SLURM's "
            "--gpus-per-node instead of --gpus-per-task"
        )


def join_world(rendezvous: Rendezvous, *, precision: str, threads: int | None) -> Accelerator:
    """Sets up the process group, or a single process.

    Args:
        rendezvous: The processes of the launch.
        precision: "fp32", "bf16", "fp16" or "fp64".
        threads: CPU threads of each process; None divides the machine's cores among its processes.

    Raises:
        UserError: The launcher was given another precision, or started another number of processes, or more processes
            than there are GPUs.
    """
    check_devices()
    rendezvous.watch()
    launched = os.environ.get("ACCELERATE_MIXED_PRECISION", "no")
    if launched not in ("no", _MIXED[precision]):
        raise UserError(
            f"precision: accelerate was launched for {launched}, but the run's precision is {precision!r}: "
            f"pass --precision {launched} to gan_core"
        )
    if on_cpu():
        keep_to_own_cores(threads)  # Before the process group starts its threads.
    if (store := rendezvous.group_store) is not None:
        device = "cpu" if on_cpu() else torch.accelerator.current_accelerator() or "cpu"
        distributed.init_process_group(
            distributed.get_default_backend_for_device(device),
            store=store,
            rank=rendezvous.rank,
            world_size=rendezvous.world,
            # The watch names a lost process at the deadline. NCCL's own would only end this one, without a message.
            timeout=timedelta(seconds=2 * rendezvous.deadline),
        )
    if on_cpu():
        use(connect(rendezvous))
    accelerator = Accelerator(
        # Otherwise two processes on a machine without a GPU become two runs that write the same files.
        cpu=on_cpu(),
        mixed_precision=_MIXED[precision],
        kwargs_handlers=[
            # Buffers need no broadcast before each forward: they are already equal, or local on purpose.
            DistributedDataParallelKwargs(broadcast_buffers=False, gradient_as_bucket_view=True),
            # The gradient of a mean in float16 is the scale itself; the default of 65,536 is infinite there.
            GradScalerKwargs(init_scale=2.0**15),
        ],
    )
    if accelerator.num_processes != started_processes():
        raise UserError(
            f"the launcher started {started_processes()} processes, but only {accelerator.num_processes} joined: "
            "launch with torchrun or with a config file from launch/"
        )
    # Launchers set one thread per process, even if the machine runs only one process.
    torch.set_num_threads(threads_of_process(threads))
    return accelerator


def leave_world(accelerator: Accelerator) -> None:
    """Ends the process group and forgets it: another run in this process may have another precision."""
    use_all_cores()
    use(None)
    accelerator.end_training()
    # accelerate has no public way.
    AcceleratorState._reset_state(reset_partial_state=True)
    GradientState._reset_state()


def wait_for_all(accelerator: Accelerator) -> None:
    """Waits until every process has called it."""
    if accelerator.num_processes > 1:
        # accelerate's own barrier names a GPU also in a group on CPUs, and counts processes, not visible GPUs.
        device = accelerator.device
        distributed.barrier(device_ids=None if device.type == "cpu" else [device.index])


@contextmanager
def main_first(accelerator: Accelerator, *, on_each_machine: bool = False) -> Iterator[None]:
    """Runs the block on the main process, or on one process of each machine, before the others enter it."""
    first = accelerator.is_local_main_process if on_each_machine else accelerator.is_main_process
    if not first:
        wait_for_all(accelerator)
    yield
    if first:
        wait_for_all(accelerator)


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
