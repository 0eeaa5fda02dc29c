"""How CPU threads wait for each other: decided before torch is imported, because its threads read it only once.

A thread that is done early spins until the others are, which is fast on a quiet machine. Where other programs use the
same cores, it spins on a core that the others need: a run of two threads then fell from 5,000 to 13 images a second.
Passive waiting gives the core back; on a quiet machine it halves the rate of small networks. This module does not
import torch.
"""

import os
import time
from collections.abc import Mapping, MutableMapping
from contextlib import suppress
from dataclasses import dataclass

import psutil

from gan_core.console import say
from gan_core.cores import allowed_cores, local_processes, threads_of_process, usable_cores
from gan_core.distributed.launcher import was_launched

SHORTEST = 0.15
"""Seconds that have to be measured; the system counts CPU time in hundredths."""


@dataclass(frozen=True, kw_only=True, slots=True)
class CpuTimes:
    """CPU time used up to now, in seconds.

    Attributes:
        at: The time of the measurement.
        all: Used on the cores of this process, by all programs, and by other virtual machines.
        ours: Used by this process, its launcher, and the launcher's other processes.
    """

    at: float
    all: float
    ours: float

    @classmethod
    def now(cls) -> "CpuTimes":
        """Measures, in about a millisecond."""
        cores = psutil.cpu_times(percpu=True)
        if max(allowed_cores()) < len(cores):
            cores = [cores[number] for number in allowed_cores()]
        # Linux counts guests in `user` too, and macOS has only the first three.
        names = ("user", "nice", "system", "irq", "softirq", "steal")
        used = sum(getattr(core, name, 0.0) for core in cores for name in names)
        return cls(at=time.monotonic(), all=used, ours=time.process_time() + _rest_of_the_launch())


def used_by_others(before: CpuTimes, now: CpuTimes) -> float:
    """Returns how many cores other programs used between two measurements, on average; 0 if that was too short."""
    seconds = now.at - before.at
    if seconds < SHORTEST:
        return 0.0
    return max(0.0, (now.all - before.all - (now.ours - before.ours)) / seconds)


def share_cores(threads: int | None) -> None:
    """Makes waiting passive if other programs have used our cores since the command started, and says so.

    Args:
        threads: The setting of this name.
    """
    used = used_by_others(STARTED, CpuTimes.now())
    if wait_passively(threads, used) and os.environ.get("RANK", "0") == "0":
        say(f"threads wait passively: other programs use {used:.1f} of {usable_cores()} cores")


def wait_passively(threads: int | None, used: float, environment: MutableMapping[str, str] = os.environ) -> bool:
    """Makes waiting passive where other programs need the cores of our threads, unless the user has chosen.

    Args:
        threads: The setting of this name.
        used: How many cores other programs use; see `used_by_others`.
        environment: Where it is set.

    Returns:
        Whether it was set.
    """
    each = threads_of_process(threads, environment)
    left_free = max(0, usable_cores() - each * local_processes(environment))
    if each == 1 or used <= left_free + 0.5 or _chosen(environment):
        return False
    environment["OMP_WAIT_POLICY"] = "PASSIVE"
    return True


def _chosen(environment: Mapping[str, str]) -> bool:
    # With --cpu, accelerate sets KMP_BLOCKTIME to 1.
    return (
        "OMP_WAIT_POLICY" in environment
        or "GOMP_SPINCOUNT" in environment
        or environment.get("KMP_BLOCKTIME", "1") != "1"
    )


def _rest_of_the_launch() -> float:
    """Returns the CPU time of the launcher and of its other processes, which start when this one does."""
    if not was_launched():
        return 0.0
    total = 0.0
    with suppress(psutil.Error):
        launcher = psutil.Process(os.getppid())
        for process in (launcher, *launcher.children(recursive=True)):
            if process.pid != os.getpid():
                with suppress(psutil.Error):
                    times = process.cpu_times()
                    total += times.user + times.system
    return total


STARTED = CpuTimes.now()
"""Measured when the command starts: this module is imported first."""
