"""`python -m MODULE ...` as tests run it: in processes forked from one that has imported torch, or in real ones.

To import torch takes some seconds; forked processes have it. There is one server for each process of pytest, started
when it is first needed.
"""

import functools
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from tests import fresh
from tests.fork_server import LARGEST
from tests.ports import free_ports

ROOT = Path(__file__).parent.parent


def run(
    words: Sequence[str],
    *,
    folder: Path,
    environment: Mapping[str, str],
    processes: int | None = None,
    timeout: float,
) -> subprocess.CompletedProcess[str]:
    """Runs `python -m` with these words, as subprocess.run would.

    Where a forked process cannot have the environment, it is a real one.

    Args:
        words: The module and its arguments.
        folder: Where it runs.
        environment: All of its variables.
        processes: How many ranks, each with what torchrun would tell it; None for a plain process. The exit code of
            ranks is 1 if one fails, as a launcher's, and their output comes together.
        timeout: Seconds after which all of it is killed.

    Raises:
        subprocess.TimeoutExpired: It took longer.
    """
    if not suits(environment):
        torchrun = ["torch.distributed.run", "--standalone", f"--nproc_per_node={processes}", "-m"]
        line = [sys.executable, "-m", *(torchrun if processes is not None else []), *words]
        return subprocess.run(
            line, cwd=folder, env=environment, capture_output=True, text=True, timeout=timeout, check=False
        )
    environments = [dict(environment)]
    if processes is not None:
        environments = [dict(environment) | rank for rank in ranks(processes)]
    return server().run(list(words), folder, environments, timeout)


def suits(environment: Mapping[str, str]) -> bool:
    """Says whether a forked process can have this environment. Forks are safe with torch on Linux only."""
    return sys.platform == "linux" and fresh.can_have(dict(environment), server().environment)


def ranks(count: int) -> list[dict[str, str]]:
    """Returns what torchrun tells each of so many processes on one machine."""
    (port,) = free_ports(1)
    shared = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "OMP_NUM_THREADS": "1"}
    shared |= {"WORLD_SIZE": str(count), "LOCAL_WORLD_SIZE": str(count)}
    return [shared | {"RANK": str(rank), "LOCAL_RANK": str(rank)} for rank in range(count)]


@functools.cache
def server() -> "ForkServer":
    """Returns this process's server, and starts it the first time."""
    return ForkServer()


def end_server() -> None:
    """Ends it if it was started."""
    if server.cache_info().currsize:
        server().end()
        server.cache_clear()


class ForkServer:
    """The server, a process of its own, with no thread, and with nothing of pytest's."""

    def __init__(self) -> None:
        self.environment = {name: value for name, value in os.environ.items() if name not in fresh.APPLIED}
        """What its libraries were loaded with."""
        self._connection, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, LARGEST)
        self._errors = tempfile.TemporaryFile("w+")  # noqa: SIM115
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.fork_server", str(theirs.fileno())],
            cwd=ROOT,
            env=self.environment | {"OPENBLAS_NUM_THREADS": "1"},
            pass_fds=[theirs.fileno()],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=self._errors,
        )
        theirs.close()
        self.number = self._process.pid

    @property
    def said(self) -> str:
        """What it wrote to its stderr: warnings of the imports, or why it ended."""
        self._errors.seek(0)
        return self._errors.read()

    def run(
        self, words: list[str], folder: Path, environments: list[dict[str, str]], timeout: float
    ) -> subprocess.CompletedProcess[str]:
        """Runs a process for each environment, all with the same words."""
        request = {"words": words, "folder": str(folder), "environments": environments}
        with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as errors:
            try:
                self._connection.settimeout(None)
                pipes = [out.fileno(), errors.fileno()]
                socket.send_fds(self._connection, [json.dumps(request).encode()], pipes)
                (group,) = self._hear()
                codes = self._ends(group, timeout)
            except BaseException:
                self.end()  # What comes next must not hear the answer to this.
                raise
            texts = []
            for file in (out, errors):
                file.seek(0)
                texts.append(file.read())
        if codes is None:
            raise subprocess.TimeoutExpired(words, timeout, *texts)
        code = codes[0] if len(codes) == 1 else int(any(codes))
        return subprocess.CompletedProcess(words, code, *texts)

    def _ends(self, group: int, timeout: float) -> list[int] | None:
        """Waits for the exit codes; after the timeout kills all and returns None."""
        try:
            self._connection.settimeout(timeout)
            return self._hear()
        except TimeoutError:
            with suppress(ProcessLookupError):
                os.killpg(group, signal.SIGKILL)
            self._connection.settimeout(None)
            self._hear()
            return None

    def _hear(self) -> list[int]:
        message = self._connection.recv(LARGEST)
        if not message:
            self._process.wait()
            raise RuntimeError(f"the fork server has ended: {self.said}")
        answer: list[int] = json.loads(message)
        return answer

    def end(self) -> None:
        """Ends it, and what it runs."""
        self._connection.close()
        self._process.wait()
        self._errors.close()
