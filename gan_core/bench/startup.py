"""The time from the start of the command to the end of the first step, beyond that of importing the libraries."""

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import yaml

from gan_core.app.job import Job
from gan_core.errors import TrainingError

_IMPORTS = "import torch, accelerate, torchvision, time; print(time.time())"


def start_up(job: Job) -> tuple[float, float]:
    """Returns seconds from the start of `gan_core train` to the log point after its first step, and of the imports.

    Each is measured in a process of its own, one after the other. Nothing is measured inside of the command: it is
    done with its first step when it has written the first line of metrics.jsonl.
    """
    imports = -time.time() + float(_run(["-c", _IMPORTS]))
    with tempfile.TemporaryDirectory(prefix="gan-core-bench-") as name:
        folder, settings = Path(name) / "run", Path(name) / "settings.yaml"
        output = {"steps": 1, "kimg": None, "epochs": None, "out": str(folder), "evaluate_every": None, "track": None}
        settings.write_text(yaml.safe_dump(job.config() | output | {"keep_lowest": None, "keep_highest": None}))
        started = time.time()
        _run(["-m", "gan_core", "train", "--config", str(settings)])
        return (folder / "metrics.jsonl").stat().st_mtime - started, imports


def _run(arguments: list[str]) -> str:
    done = subprocess.run(  # noqa: S603
        [sys.executable, *arguments], env=os.environ, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise TrainingError(f"a process of the measurement has failed: {done.stderr.strip()[-2000:]}")
    return done.stdout
