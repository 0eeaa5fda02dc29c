"""A run that is disturbed: its command, its state byte for byte, and what it is compared with."""

import hashlib
import json
import os
import random
import re
import shutil
import signal
import stat
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import torch

from tests import forked
from tests.conftest import ROOT
from tests.launchers import ranks

BATCH, STEPS, HALF = 16, 24, 14
LIMIT = 180
"""Seconds after which a command counts as hanging."""
KEPT = {"vanilla": 100, "dcgan": 2}
"""How many checkpoints each variant keeps."""
Content = dict[str, tuple[str, str]]
"""What lies in a folder: kind, and hash or target, by path."""


def train(variant: str, out: Path, *flags: object) -> list[str]:
    """Returns the command of a short run that logs every step, so that a stop adds no line of its own."""
    words = ("train", "--variant", variant, "--set", "width=4", "--batch", BATCH, "--steps", STEPS, "--out", out)
    cadence = ("log_every=0.016", "checkpoint_every=0.064", "sample_every=0.128", f"keep_checkpoints={KEPT[variant]}")
    sets = [word for text in (*cadence, "threads=1", "deadline=20") for word in ("--set", text)]
    return [str(word) for word in (*words, *sets, *flags)]


def environment() -> dict[str, str]:
    return os.environ | {"PYTHONWARNINGS": "default", "COLUMNS": "200"}


def do(words: list[str], processes: int | None = None) -> subprocess.CompletedProcess[str]:
    """Runs a command of gan_core to its end."""
    line = ["gan_core", *words]
    return forked.run(line, folder=ROOT, environment=environment(), processes=processes, timeout=LIMIT)


def begin(words: list[str], processes: int | None = None) -> forked.Process:
    """Starts a command of gan_core, and does not wait."""
    return forked.start(["gan_core", *words], folder=ROOT, environment=environment(), processes=processes)


def launch(words: list[str], processes: int, log: Path) -> subprocess.Popen[bytes]:
    """Starts a command through the real `accelerate launch`, in a process group of its own; it writes to a file."""
    line = [str(Path(forked.PYTHON).with_name("accelerate")), "launch"]
    if processes > 1:
        line += ["--config_file", str(ROOT / "launch" / f"cpu-{processes}.yaml")]
    line += ["-m", "gan_core", *words]
    with log.open("wb") as output:
        return subprocess.Popen(line, cwd=ROOT, env=environment(), stdout=output, stderr=output, start_new_session=True)


def hung_up(launcher: subprocess.Popen[bytes]) -> None:
    """Kills a launcher and all that it has started."""
    workers = list(ranks(launcher).values()) if launcher.poll() is None else []
    for worker in workers:
        worker.kill()
    if launcher.poll() is None:
        os.killpg(launcher.pid, signal.SIGKILL)
    launcher.wait(LIMIT)


def content(folder: Path) -> Content:
    """Returns all that lies in a folder, without following links or opening pipes."""
    found: Content = {}
    for root, folders, files in os.walk(folder):
        for name in (*folders, *files):
            path = Path(root, name)
            mode = path.lstat().st_mode
            key = str(path.relative_to(folder))
            if stat.S_ISLNK(mode):
                found[key] = ("link", str(path.readlink()))
            elif stat.S_ISREG(mode):
                found[key] = ("file", hashlib.sha256(path.read_bytes()).hexdigest())
            else:
                found[key] = ("folder" if stat.S_ISDIR(mode) else "other", "")
    return found


def remove(path: Path) -> None:
    """Removes a file, a folder or a link, if it is there."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def checkpoints(run: Path) -> list[Path]:
    """Returns the checkpoints of a run, the oldest first."""
    return sorted(path for path in (run / "checkpoints").iterdir() if path.name.isdecimal())


def lines(run: Path) -> list[dict[str, Any]]:
    """Returns what a run has logged, without its rate."""
    logged = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [{key: value for key, value in line.items() if key != "images_per_second"} for line in logged]


def result(run: Path) -> dict[str, Any]:
    """Returns what must be the same bit for bit at the end: weights, averages, optimizers and the log."""
    last = run / "checkpoints" / f"{STEPS * BATCH:09d}"
    weights = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in last.glob("*.safetensors")}
    # torch writes equal values differently, depending on which of them are one object.
    states = {path.name: _plain(torch.load(path, weights_only=True)) for path in last.glob("*.pt")}
    assert len(weights) == 3
    assert len(states) == 2
    return {"weights": weights, "states": states, "lines": lines(run)}


def _plain(value: object) -> object:
    """Returns nested values with the type, shape and bytes of each tensor in its place."""
    if isinstance(value, torch.Tensor):
        return str(value.dtype), tuple(value.shape), value.numpy().tobytes()
    if isinstance(value, dict):
        return {key: _plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return type(value).__name__, *map(_plain, value)
    return type(value).__name__, value


@dataclass
class Scene:
    """A run that is at rest, half-way, before its fault.

    Attributes:
        run: Its folder.
        words: Its command.
        variant: Its variant.
        processes: How many processes train it; None for one.
        other: Returns a run of the other variant, half-way.
        twin: Returns a run with the same settings except its seed, half-way.
        chance: Random numbers.
        undo: What ends the fault, beyond putting files back.
        leave: What is done when the scene is left.
        beside: Other folders that must stay as they are.
    """

    run: Path
    words: list[str]
    variant: str
    processes: int | None
    other: Callable[[], Path]
    twin: Callable[[], Path]
    chance: random.Random
    undo: list[Callable[[], object]] = field(default_factory=list)
    leave: list[Callable[[], object]] = field(default_factory=list)
    beside: list[Path] = field(default_factory=list)

    @property
    def newest(self) -> Path:
        """Its newest checkpoint."""
        return checkpoints(self.run)[-1]

    def replace(self, path: Path, text: bytes) -> None:
        """Writes a file over whatever is there."""
        remove(path)
        path.write_bytes(text)


def wait_until(condition: Callable[[], bool], process: forked.Process | subprocess.Popen[bytes]) -> bool:
    """Waits for a condition; returns False if the process has ended before."""
    until = time.monotonic() + LIMIT
    while process.poll() is None:
        if condition():
            return True
        if time.monotonic() > until:
            raise TimeoutError("the run does not go on")
        time.sleep(0.001)
    return False


def one_error(code: int, output: str) -> str:
    """Returns the one error that a command printed."""
    found = re.findall(r"^error(?: \(process \d+\))?: .*", output, re.MULTILINE)
    if code not in (1, 2) or "Traceback" in output or len(found) != 1:
        pytest.fail(f"exit code {code}, {len(found)} errors\n{output}")
    return str(found[0])
