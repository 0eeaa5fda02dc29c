"""The cores of this machine, and how its processes share them. Nothing here imports torch."""

import os
from collections.abc import Mapping


def usable_cores() -> int:
    """Returns how many cores this process may use; on macOS and Windows all cores are counted."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def local_processes(environment: Mapping[str, str] = os.environ) -> int:
    """Returns how many processes the launcher has started on this machine: 1 without a launcher."""
    return int(environment.get("LOCAL_WORLD_SIZE", "1"))


def threads_of_process(threads: int | None, environment: Mapping[str, str] = os.environ) -> int:
    """Returns the CPU threads of each process: the setting of this name, or its share of the machine's cores."""
    return threads or max(1, usable_cores() // local_processes(environment))
