"""The cores of this machine, and how its processes share them. Nothing here imports torch."""

import os
from collections.abc import Mapping

_shared: frozenset[int] | None = None
"""The cores that the processes of this machine share, while this one keeps to its own."""


def allowed_cores() -> frozenset[int]:
    """Returns the numbers of the cores that the processes of this machine share; on macOS and Windows all."""
    if _shared is not None:
        return _shared
    return frozenset(os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else range(os.cpu_count() or 1))


def usable_cores() -> int:
    """Returns how many cores the processes of this machine share."""
    return len(allowed_cores())


def local_processes(environment: Mapping[str, str] = os.environ) -> int:
    """Returns how many processes the launcher has started on this machine: 1 without a launcher."""
    return int(environment.get("LOCAL_WORLD_SIZE", "1"))


def threads_of_process(threads: int | None, environment: Mapping[str, str] = os.environ) -> int:
    """Returns the CPU threads of each process: the setting of this name, or its share of the machine's cores."""
    return threads or max(1, usable_cores() // local_processes(environment))


def keep_to_own_cores(threads: int | None, environment: Mapping[str, str] = os.environ) -> None:
    """Keeps this process, and threads and processes that it starts, to its share of the cores, on Linux.

    Processes that train together wait for each other in every layer with batch normalisation. If the system moves one
    to the core of another, all wait. Nothing is done for one process alone, and if the threads do not fit.

    Args:
        threads: The setting of this name.
        environment: Where the launcher has put the number of the process.
    """
    global _shared
    processes, cores = local_processes(environment), sorted(allowed_cores())
    share = len(cores) // processes
    if hasattr(os, "sched_setaffinity") and processes > 1 and threads_of_process(threads, environment) <= share:
        first = share * int(environment.get("LOCAL_RANK", "0"))
        _shared = frozenset(cores)
        os.sched_setaffinity(0, cores[first : first + share])


def has_own_cores() -> bool:
    """Returns whether `keep_to_own_cores` keeps this process to cores that no other process of the run uses."""
    return _shared is not None


def use_all_cores() -> None:
    """Ends what `keep_to_own_cores` has begun, for threads and processes that are started later."""
    global _shared
    if _shared is not None:
        os.sched_setaffinity(0, _shared)
        _shared = None
