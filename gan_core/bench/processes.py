"""The processes of a measurement: each is started anew, so that none profits from what another has done."""

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import yaml

from gan_core.app.job import Job
from gan_core.errors import TrainingError, UserError
from gan_core.testing.ports import free_ports, rank_environments


def ask(job: Job, kind: str, *, window: int, windows: int = 2, processes: int = 1) -> dict[str, Any]:
    """Measures in a process of its own, or in several that train together, and returns the main process's answer.

    Args:
        job: What to train.
        kind: What to measure; this and the following are those of `gan_core.bench.worker.Request`.
        window: Steps in a window.
        windows: Windows that count.
        processes: How many processes train together.

    Raises:
        UserError: A process has raised it.
        TrainingError: A process has failed otherwise.
    """
    with tempfile.TemporaryDirectory(prefix="gan-core-bench-") as name:
        settings = Path(name) / "settings.yaml"
        settings.write_text(yaml.safe_dump(job.config()))
        request = {"kind": kind, "settings": str(settings), "folder": name, "window": window, "windows": windows}
        line = [sys.executable, "-m", "gan_core.bench", json.dumps(request)]
        (port,) = free_ports(1)
        ranks = [_start(line, environment) for environment in rank_environments(processes, port)]
        try:
            while any(rank.poll() is None for rank in ranks) and not any(rank.poll() for rank in ranks):
                time.sleep(0.01)
            outputs = [_output(rank) for rank in ranks if rank.poll() is not None]
        finally:
            for rank in ranks:
                rank.kill()
                rank.communicate()
    found: dict[str, Any] = json.loads(outputs[0].splitlines()[-1])
    if "error" in found:
        raise UserError(found["error"])
    return found


def _start(line: list[str], environment: dict[str, str]) -> subprocess.Popen[str]:
    return subprocess.Popen(  # noqa: S603
        line, env=os.environ | environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def _output(process: subprocess.Popen[str]) -> str:
    output, errors = process.communicate()
    if process.returncode:
        raise TrainingError(f"a process of the measurement has failed: {errors.strip()[-2000:]}")
    return output
