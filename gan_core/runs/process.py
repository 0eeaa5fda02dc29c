"""The process of a run: its identity, and whether it is still running."""

import os
import socket
from collections.abc import Mapping
from typing import Any

import psutil


def this_process() -> dict[str, Any]:
    """Returns the identity of this process: host, process ID, and start time (Unix seconds)."""
    return {"host": socket.gethostname(), "pid": os.getpid(), "began": psutil.Process().create_time()}


def has_ended(process: Mapping[str, Any]) -> bool:
    """Tells whether that process is known to have ended; nothing is known of other machines."""
    if process.get("host") != socket.gethostname():
        return False
    try:
        # Process IDs are reused; the same ID with another start time is another process.
        return abs(psutil.Process(int(process["pid"])).create_time() - float(process["began"])) > 1
    except (psutil.NoSuchProcess, KeyError, TypeError, ValueError):
        return True
