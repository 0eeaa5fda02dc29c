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
from typing import IO, Any

from gan_core.testing.ports import free_ports, rank_environments
from tests import fresh
from tests.fork_server import LARGEST

ROOT = Path(__file__).parent.parent
PYTHON = sys.executable
"""The real interpreter: `sys.executable` may be a stand-in."""
STAND_IN = Path(__file__).with_name("stand_in.py").read_text()


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
    with start(words, folder=folder, environment=environment, processes=processes) as process:
        try:
            out, errors = process.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            process.kill()
            raise subprocess.TimeoutExpired(words, timeout, *process.communicate()) from None
    return subprocess.CompletedProcess(words, process.returncode, out, errors)


def start(
    words: Sequence[str], *, folder: Path, environment: Mapping[str, str], processes: int | None = None
) -> "Process":
    """Starts `python -m` with these words, as subprocess.Popen would with pipes; see `run`."""
    if suits(environment):
        environments = [dict(environment) | rank for rank in ([{}] if processes is None else ranks(processes))]
        return server().start(list(words), folder, environments)
    torchrun = ["torch.distributed.run", "--standalone", f"--nproc_per_node={processes}", "-m"]
    line = [PYTHON, "-m", *(torchrun if processes is not None else []), *words]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return subprocess.Popen(line, cwd=folder, env=environment, **pipes, text=True, start_new_session=True)


def suits(environment: Mapping[str, str]) -> bool:
    """Says whether a forked process can have this environment. Forks are safe with torch on Linux only."""
    return sys.platform == "linux" and fresh.can_have(dict(environment), server().environment)


@functools.cache
def stand_ins() -> Path:
    """Returns a folder with executables in place of python, accelerate and torchrun, whose processes are forked.

    They are small processes that ask the server; what it cannot run, the real interpreter runs.
    """
    folder = Path(server().address).parent
    for name in ("python", "accelerate", "torchrun"):
        (folder / name).write_text(f"#!{PYTHON} -IS\n{STAND_IN}")
        (folder / name).chmod(0o755)
    return folder


def ranks(count: int) -> list[dict[str, str]]:
    """Returns what torchrun tells each of so many processes on one machine."""
    (port,) = free_ports(1)
    return [{"OMP_NUM_THREADS": "1", **one} for one in rank_environments(count, port)]


NO_THREADS = {"OPENBLAS_NUM_THREADS": "1", "JE_ARROW_MALLOC_CONF": "background_thread:false"}
"""The server has no thread but its own. pyarrow, which scikit-learn imports if it is installed, starts one."""


@functools.cache
def server() -> "ForkServer":
    """Returns this process's server, and starts it the first time."""
    return ForkServer()


def end_server() -> None:
    """Ends it if it was started."""
    if server.cache_info().currsize:
        server().end()
        server.cache_clear()
        stand_ins.cache_clear()


class ForkServer:
    """The server, a process of its own, with no thread, and with nothing of pytest's."""

    def __init__(self) -> None:
        self.environment = {name: value for name, value in os.environ.items() if name not in fresh.APPLIED}
        """What its libraries were loaded with."""
        self._folder = tempfile.TemporaryDirectory(prefix="fork-server-")
        self._errors = tempfile.TemporaryFile("w+")  # noqa: SIM115
        theirs, self._lifeline = os.pipe()
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listener:
            listener.bind(self.address)
            listener.listen()
            self._process = subprocess.Popen(
                [PYTHON, "-m", "tests.fork_server", str(listener.fileno()), str(theirs)],
                cwd=ROOT,
                env=self.environment | NO_THREADS,
                pass_fds=[listener.fileno(), theirs],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=self._errors,
            )
        os.close(theirs)
        self.number = self._process.pid

    @property
    def address(self) -> str:
        """The path of the socket on which it listens."""
        return str(Path(self._folder.name) / "socket")

    @property
    def said(self) -> str:
        """What it wrote to its stderr: warnings of the imports, or why it ended."""
        self._errors.seek(0)
        return self._errors.read()

    def start(self, words: list[str], folder: Path, environments: list[dict[str, str]]) -> "Forked":
        """Forks a process for each environment, all with the same words."""
        request = {"words": words, "folder": str(folder), "environments": environments}
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, LARGEST)
        connection.connect(self.address)
        return Forked(self, connection, request)

    def end(self) -> None:
        """Ends it, and what it runs."""
        os.close(self._lifeline)
        self._process.wait()
        self._errors.close()
        self._folder.cleanup()


class Forked:
    """Processes that were forked for one request, with the methods of subprocess.Popen.

    Attributes:
        pid: The number of the first, and of their process group.
        returncode: None while one runs; of several, 1 if one has failed.
    """

    def __init__(self, asked: ForkServer, connection: socket.socket, request: dict[str, Any]) -> None:
        self._server, self._connection, self._words = asked, connection, request["words"]
        self._files = [tempfile.TemporaryFile("w+") for _ in range(2)]  # noqa: SIM115
        socket.send_fds(connection, [json.dumps(request).encode()], [file.fileno() for file in self._files])
        self.returncode: int | None = None
        (self.pid,) = self._hear()

    def __enter__(self) -> "Forked":
        return self

    def __exit__(self, *error: object) -> None:
        """Kills what still runs, and waits."""
        self.kill()
        self.wait()

    def poll(self) -> int | None:
        """Returns the exit code if all have ended."""
        with suppress(subprocess.TimeoutExpired):
            return self.wait(0)
        return None

    def wait(self, timeout: float | None = None) -> int:
        """Waits for the end of all and returns the exit code."""
        if self.returncode is None:
            try:
                self._connection.settimeout(timeout)
                codes = self._hear()
            except (TimeoutError, BlockingIOError):
                raise subprocess.TimeoutExpired(self._words, timeout or 0) from None
            self.returncode = codes[0] if len(codes) == 1 else int(any(codes))
            self._connection.close()
            self._texts = [self._text(file) for file in self._files]
        return self.returncode

    def communicate(self, timeout: float | None = None) -> tuple[str, str]:
        """Waits for the end of all and returns what they have written to stdout and stderr."""
        self.wait(timeout)
        out, errors = self._texts
        return out, errors

    def send_signal(self, number: int) -> None:
        """Sends a signal to all that run."""
        if self.poll() is None:
            os.killpg(self.pid, number)

    def kill(self) -> None:
        """Kills all."""
        self.send_signal(signal.SIGKILL)

    @staticmethod
    def _text(file: IO[str]) -> str:
        with file:
            file.seek(0)
            return file.read()

    def _hear(self) -> list[int]:
        message = self._connection.recv(LARGEST)
        if not message:
            raise RuntimeError(f"the fork server has ended: {self._server.said}")
        answer: list[int] = json.loads(message)
        return answer


Process = subprocess.Popen[str] | Forked
