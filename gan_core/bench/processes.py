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
        # Their output goes to files: a process that writes to a pipe that nobody reads would wait forever.
        ranks = [
            _Rank(line, environment, Path(name) / f"process-{number}")
            for number, environment in enumerate(rank_environments(processes, port))
        ]
        try:
            while any(rank.code() is None for rank in ranks) and not any(rank.code() for rank in ranks):
                time.sleep(0.02)
            for rank in ranks:
                rank.check()
        finally:
            for rank in ranks:
                rank.end()
        output = ranks[0].output()
    found: dict[str, Any] = json.loads(output.splitlines()[-1])
    if "error" in found:
        raise UserError(found["error"])
    return found


class _Rank:
    """One process, which writes to files."""

    def __init__(self, line: list[str], environment: dict[str, str], files: Path) -> None:
        self._out, self._errors = files.with_suffix(".out"), files.with_suffix(".err")
        with self._out.open("w") as out, self._errors.open("w") as errors:
            self._process = subprocess.Popen(line, env=os.environ | environment, stdout=out, stderr=errors)  # noqa: S603

    def code(self) -> int | None:
        """Returns the exit code, None while it runs."""
        return self._process.poll()

    def check(self) -> None:
        """Raises TrainingError if it has failed."""
        if self.code():
            raise TrainingError(f"a process of the measurement has failed: {self._errors.read_text().strip()[-2000:]}")

    def output(self) -> str:
        """Returns what it printed."""
        return self._out.read_text()

    def end(self) -> None:
        """Kills it if it still runs."""
        self._process.kill()
        self._process.wait()
