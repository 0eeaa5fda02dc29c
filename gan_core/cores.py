"""The cores of this machine. Nothing here imports torch."""

import os


def usable_cores() -> int:
    """Returns how many cores this process may use; on macOS and Windows all cores are counted."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
