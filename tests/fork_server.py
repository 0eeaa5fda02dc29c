"""A process that imports once what is heavy and then forks to run `python -m MODULE ...`, as often as it is asked.

python -m tests.fork_server LISTENER LIFELINE, descriptors of a socket that listens and of a pipe. A connection carries
one request: a message of JSON with two descriptors, for stdout and stderr. The answers are the number of the process
group at once, and the exit codes at the end. When the other end closes, what it asked for is killed; when the pipe's
other end closes, the server kills all that still runs and ends.
"""

import functools
import gc
import importlib
import json
import os
import pkgutil
import runpy
import selectors
import signal
import socket
import sys
import warnings
from contextlib import suppress
from dataclasses import dataclass, field
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
    """Serves; in a forked process, runs what was asked for."""
    listener, lifeline = socket.socket(fileno=int(sys.argv[1])), int(sys.argv[2])
    before = fresh.Interpreter.now()
    end = fresh.End()
    import_all()
    before.note_imports()
    # A signal to all of a terminal is pytest's affair; the server ends when the pipe closes, and its processes too.
    handlers = {number: signal.signal(number, signal.SIG_IGN) for number in SIGNALS}
    with end:
        with Server(listener, lifeline, before) as server:
            request = server.serve()
        if request is not None:
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


@dataclass
class Asked:
    """The processes of one connection."""

    connection: socket.socket
    group: int = 0
    """Their process group."""
    codes: list[int | None] = field(default_factory=list)
    """Their exit codes by rank, None while they run."""


class Server:
    """The loop of the server: connections, and the processes that were forked for them."""

    def __init__(self, listener: socket.socket, lifeline: int, interpreter: fresh.Interpreter) -> None:
        self._interpreter = interpreter
        self._listener, self._lifeline = listener, lifeline
        self._selector = selectors.DefaultSelector()
        self._selector.register(listener, selectors.EVENT_READ, self._accept)
        self._selector.register(lifeline, selectors.EVENT_READ, None)
        self._asked: list[Asked] = []

    def __enter__(self) -> "Server":
        return self

    def __exit__(self, *error: object) -> None:
        """Closes every descriptor, in the server and in a forked process."""
        for key in list(self._selector.get_map().values()):
            if not isinstance(key.fileobj, socket.socket):
                os.close(key.fd)
        self._selector.close()
        for opened in (self._listener, *(asked.connection for asked in self._asked)):
            opened.close()

    def serve(self) -> dict[str, Any] | None:
        """Answers requests until the pipe's other end closes.

        Returns:
            None in the server; in each forked process, what it is to do.
        """
        while True:
            for key, _ in self._selector.select():
                if key.fileobj == self._lifeline:
                    for asked in self._asked:
                        _kill(asked)
                    return None
                request = key.data(key.fileobj)
                if request is not None:
                    return request  # type: ignore[no-any-return]

    def _accept(self, listener: socket.socket) -> None:
        connection, _ = listener.accept()
        self._asked.append(Asked(connection))
        self._selector.register(connection, selectors.EVENT_READ, functools.partial(self._hear, self._asked[-1]))

    def _hear(self, asked: Asked, connection: socket.socket) -> dict[str, Any] | None:
        """Forks the processes of a request, or kills them when the other end has closed."""
        try:
            message, descriptors, _, _ = socket.recv_fds(connection, LARGEST, 2)
        except ConnectionError:
            message, descriptors = b"", []
        if not message:
            _kill(asked)
            self._forget(asked)
            return None
        request = json.loads(message)
        environments = request.pop("environments")
        if not all(self._interpreter.can_become(environment) for environment in environments):
            environments = []
        for rank, environment in enumerate(environments):
            if len(list(Path("/proc/self/task").iterdir())) != 1:
                sys.exit("the server has more than one thread: a fork would copy only this one")
            process = os.fork()
            if process == 0:
                return {**request, "environment": environment, "descriptors": descriptors, "group": asked.group}
            asked.group = asked.group or process
            asked.codes.append(None)
            with suppress(OSError):  # The child does the same; whoever comes first.
                os.setpgid(process, asked.group)
            ended = functools.partial(self._reap, asked, rank, process)
            self._selector.register(os.pidfd_open(process), selectors.EVENT_READ, ended)
        for descriptor in descriptors:
            os.close(descriptor)
        _answer(asked, [asked.group] if environments else [])
        return None

    def _reap(self, asked: Asked, rank: int, process: int, descriptor: int) -> None:
        """Takes the exit code of a process that has ended, and answers when it was the last."""
        self._selector.unregister(descriptor)
        os.close(descriptor)
        asked.codes[rank] = os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
        if None not in asked.codes:
            asked.group = 0
            _answer(asked, asked.codes)

    def _forget(self, asked: Asked) -> None:
        self._selector.unregister(asked.connection)
        asked.connection.close()
        self._asked.remove(asked)


def _answer(asked: Asked, numbers: list[Any]) -> None:
    with suppress(OSError):  # It has closed already.
        asked.connection.send(json.dumps(numbers).encode())


def _kill(asked: Asked) -> None:
    if asked.group:
        with suppress(ProcessLookupError):
            os.killpg(asked.group, signal.SIGKILL)


if __name__ == "__main__":
    main()
