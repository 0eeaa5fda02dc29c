"""The process of a run: its identity, and whether it is still running."""

import os
import socket
from collections.abc import Mapping
from typing import Any

import psutil


def this_process() -> dict[str, Any]:
    """Returns the identity of this process: host, process ID, and start time (Unix seconds)."""
    return {"host": socket.gethostname(), "pid": os.getpid(), "started": psutil.Process().create_time()}


def is_here(process: Mapping[str, Any]) -> bool:
    """Returns whether a process is one of this host."""
    return process.get("host") == socket.gethostname()


def has_ended(process: Mapping[str, Any]) -> bool:
    """Returns whether the process has ended; False for processes on other hosts, which cannot be checked."""
    if not is_here(process):
        return False
    try:
        # Process IDs are reused; the same ID with another start time is a different process.
        return abs(psutil.Process(int(process["pid"])).create_time() - float(process["started"])) > 1
    except (psutil.NoSuchProcess, KeyError, TypeError, ValueError, OverflowError):
        return True
