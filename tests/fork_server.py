"""A process that imports once what is heavy and then forks to run `python -m MODULE ...`, as often as it is asked.

python -m tests.fork_server DESCRIPTOR, of a socket whose other end a `tests.forked.ForkServer` has. A request is one
message of JSON with two descriptors, for stdout and stderr; the answers are the number of the process group at once and
the exit codes at the end. When the other end closes, the server kills what still runs and ends.
"""

import gc
import importlib
import json
import os
import pkgutil
import runpy
import select
import signal
import socket
import sys
import warnings
from contextlib import suppress
from pathlib import Path
from typing import Any

from tests import fresh

LARGEST = 1 << 20
"""Bytes of the largest message."""

SIGNALS = (signal.SIGHUP, signal.SIGINT, signal.SIGTERM)

HEAVY = (
    *("accelerate", "accelerate.tracking", "PIL.Image", "PIL.PngImagePlugin", "safetensors.torch", "sklearn.datasets"),
    *("torch", "torch._dynamo", "torch.distributed.tensor", "torch.export", "torchvision.datasets"),
)
"""What gan_core or torch imports late, and slowly. No plugin and no tracker: those are found by each process anew."""


def main() -> None:
    """Serves; in a forked process, runs what was asked for, and leaves as any interpreter does at its end."""
    connection = socket.socket(fileno=int(sys.argv[1]))
    before = fresh.Interpreter.now()
    import_all()
    before.note_imports()
    # A signal to all of a terminal is pytest's affair; the server ends when the connection does, and its processes too.
    handlers = {number: signal.signal(number, signal.SIG_IGN) for number in SIGNALS}
    request = serve(connection)
    if request is not None:
        connection.close()
        for number, handler in handlers.items():
            signal.signal(number, handler)
        before.become(**request)
        runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)


def import_all() -> None:
    """Imports everything of gan_core and what it needs, with the warnings on that the tests' commands have."""
    warnings.simplefilter("default")
    for name in HEAVY:
        importlib.import_module(name)
    package = importlib.import_module("gan_core")
    for module in pkgutil.walk_packages(package.__path__, "gan_core."):
        if not module.name.endswith(".__main__"):
            importlib.import_module(module.name)
    gc.collect()
    gc.freeze()  # The children's collections leave these objects alone, so that their pages stay shared.


def serve(connection: socket.socket) -> dict[str, Any] | None:
    """Answers requests until the other end closes.

    Returns:
        None in the server; in each forked process, what it is to do.
    """
    while True:
        message, descriptors, _, _ = socket.recv_fds(connection, LARGEST, 2)
        if not message:
            return None
        request = json.loads(message)
        environments = request.pop("environments")
        group, running = 0, {}
        for rank, environment in enumerate(environments):
            if len(list(Path("/proc/self/task").iterdir())) != 1:
                sys.exit("the server has more than one thread: a fork would copy only this one")
            process = os.fork()
            if process == 0:
                return {**request, "environment": environment, "descriptors": descriptors, "group": group}
            group = group or process
            with suppress(OSError):  # The child does the same; whoever comes first.
                os.setpgid(process, group)
            running[process] = rank
        for descriptor in descriptors:
            os.close(descriptor)
        with suppress(OSError):  # It has closed already: `wait` finds that too, and kills what runs.
            connection.send(json.dumps([group]).encode())
        codes = wait(connection, group, running)
        if codes is None:
            return None
        connection.send(json.dumps(codes).encode())


def wait(connection: socket.socket, group: int, running: dict[int, int]) -> list[int] | None:
    """Waits for processes and returns their exit codes by rank; kills them and returns None if the other end closes."""
    codes = [0] * len(running)
    while running:
        process, status = os.waitpid(-1, os.WNOHANG)
        if process:
            codes[running.pop(process)] = os.waitstatus_to_exitcode(status)
        elif select.select([connection], [], [], 0.005)[0]:  # Only its end can come here.
            with suppress(ProcessLookupError):
                os.killpg(group, signal.SIGKILL)
            return None
    return codes


if __name__ == "__main__":
    main()
