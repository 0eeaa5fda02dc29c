"""Which process a run is in, and whether that process is still alive."""

import os
import socket
from collections.abc import Mapping
from typing import Any

import psutil


def this_process() -> dict[str, Any]:
    """Returns what tells this process from every other one: machine, number, and when it began (Unix seconds)."""
    return {"host": socket.gethostname(), "pid": os.getpid(), "began": psutil.Process().create_time()}


def is_gone(process: Mapping[str, Any]) -> bool:
    """Says whether that process is known to have ended; of other machines nothing is known."""
    if process.get("host") != socket.gethostname():
        return False
    try:
        # Numbers are given anew; the same number with another beginning is another process.
        return abs(psutil.Process(int(process["pid"])).create_time() - float(process["began"])) > 1
    except (psutil.NoSuchProcess, KeyError, TypeError, ValueError):
        return True
