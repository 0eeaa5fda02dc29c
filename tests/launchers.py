"""Shared by the tests of launching: the commands of launch/README.md, and launchers as child processes."""

import json
import os
import re
import shlex
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from string import Template
from typing import Any

import psutil

from tests import forked
from tests.conftest import ROOT

LAUNCH = ROOT / "launch"
GAME = (
    *("--variant", "dcgan", "--set", "width=4", "--batch", "16", "--precision", "fp64"),
    *("--set", "log_every=0.016", "--set", "threads=1"),
)
"""A small game in float64 with batch normalisation, logged at every step. One thread per process, because every
machine of these tests would otherwise use all cores."""
PATH = f"{Path(forked.PYTHON).parent}:{os.environ['PATH']}"
"""PATH with the launchers of this environment first."""
LIMIT = 240
"""Seconds after which a launcher counts as hanging."""


def ranks(launcher: subprocess.Popen[Any]) -> dict[str, psutil.Process]:
    """Returns the processes that a launcher started, by rank: real ones, or stand-ins, which pass on signals."""
    # A stand-in's launcher is a child of the fork server.
    parents = [launcher.pid, *([forked.server().number] if sys.platform == "linux" else [])]
    children = [child for parent in parents for child in psutil.Process(parent).children(recursive=True)]
    return {child.environ()["RANK"]: child for child in children if "RANK" in child.environ()}


def several_machines(kind: str) -> str:
    """Returns the README's command for several machines; `kind` is e.g. "accelerate-static" or "torchrun-c10d"."""
    blocks = re.findall(r"```bash\n(.*?)```", (LAUNCH / "README.md").read_text(), flags=re.DOTALL)
    launcher, rendezvous = kind.split("-")
    (line,) = (
        line
        for block in blocks
        for line in block.splitlines()
        if line.startswith(launcher) and ("c10d" in line) == (rendezvous == "c10d")
    )
    return line


def on_machine(line: str, machine: int, *flags: object, address: str, port: int = 29500) -> list[str]:
    """Returns the README's command as typed on a machine with one process, for another address, port and game."""
    for documented, here in (
        ("10.0.0.1", address),
        ("--num_processes 16", "--num_processes 2"),
        ("--nproc_per_node 8", "--nproc_per_node 1"),
        ("launch/machines.yaml", f"launch/machines.yaml --main_process_port {port}"),
        ("29500", str(port)),
    ):
        line = line.replace(documented, here)
    launcher, found, _ = line.partition("-m gan_core train")
    assert found
    return [*shlex.split(Template(launcher + found).substitute(MACHINE=machine)), *map(str, flags)]


@contextmanager
def started(folder: Path, *commands: Sequence[str], **environment: str) -> Iterator[list[subprocess.Popen[bytes]]]:
    """Starts commands in parallel in the checkout; command N writes FOLDER/N.log. The end of the block kills them."""
    folder.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        processes = []
        for number, words in enumerate(commands):
            log = stack.enter_context((folder / f"{number}.log").open("wb"))
            process = subprocess.Popen(
                words,
                cwd=ROOT,
                env=os.environ | {"PATH": PATH, "COLUMNS": "120"} | environment,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
            stack.callback(_end, process)
            processes.append(process)
        yield processes


def _end(process: subprocess.Popen[bytes]) -> None:
    """Kills a process that still runs, with its children."""
    if process.poll() is None:
        parent = psutil.Process(process.pid)
        for member in (*parent.children(recursive=True), parent):
            with suppress(psutil.NoSuchProcess):
                member.kill()
        process.wait()


def finished(processes: list[subprocess.Popen[bytes]]) -> list[int]:
    """Waits for all and returns their exit codes."""
    return [process.wait(LIMIT) for process in processes]


def wait_until_training(run: Path, processes: list[subprocess.Popen[bytes]]) -> None:
    """Waits for a run's first logged step."""
    deadline = time.monotonic() + LIMIT
    while not (run / "metrics.jsonl").exists():
        assert all(process.poll() is None for process in processes)
        assert time.monotonic() < deadline
        time.sleep(0.01)


def metadata(run: Path) -> dict[str, object]:
    """Returns a run's metadata."""
    return dict(json.loads((run / "run.json").read_text()))
