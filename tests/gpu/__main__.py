"""Runs all steps on one GPU and writes the report: python -m tests.gpu --out DIR.

Each step runs in a process of its own, so that one that crashes or hangs costs only itself, and because cuBLAS reads
its environment only once in a process.
"""

import argparse
import json
import math
import os
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch

from gan_core.distributed.hardware import describe_device
from tests.gpu.lab import ROOT, Lab
from tests.gpu.report import write
from tests.gpu.steps import STEPS

_TOTAL = 530.0
"""Seconds for all steps."""


def main() -> int:
    """Returns the exit code: 1 if a step failed, 0 also if there is no GPU."""
    parser = argparse.ArgumentParser(prog="python -m tests.gpu", description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("build/gpu"), help="the folder of the report")
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda", help="cpu: the same steps, short")
    parser.add_argument("--step", choices=STEPS, help="only this step; its result is written to --out as JSON")
    given = parser.parse_args()
    if given.device == "cuda" and not torch.cuda.is_available():
        print(f"skipped: torch {torch.__version__} sees no CUDA device (built with CUDA: {torch.version.cuda or 'no'})")
        return 0
    if given.step is not None:
        return _run(given.step, given.device, given.out)
    return _run_all(given.device, given.out)


def _run(name: str, device: Any, out: Path) -> int:
    """Runs a step in this process."""
    with tempfile.TemporaryDirectory(prefix="gan-core-gpu-") as folder:
        try:
            step: dict[str, Any] = {
                "result": STEPS[name][0](Lab(device=device, folder=Path(folder), short=device == "cpu"))
            }
        except BaseException:
            step = {"error": traceback.format_exc()}
    out.write_text(json.dumps(step))
    return int("error" in step)


def _run_all(device: str, out: Path) -> int:
    """Runs every step in a process of its own."""
    # The first GPU alone, also on a machine with several.
    first = os.environ.get("CUDA_VISIBLE_DEVICES", "0").split(",")[0]
    environment = os.environ | ({"CUDA_VISIBLE_DEVICES": first} if device == "cuda" else {})
    with tempfile.TemporaryDirectory(prefix="gan-core-gpu-") as folder:
        environment["XDG_CACHE_HOME"] = folder
        facts = describe_device(torch.device(device, 0) if device == "cuda" else torch.device(device))
        report: dict[str, Any] = {"device": facts | {"torch": torch.__version__}, "steps": {}}
        end = time.monotonic() + (_TOTAL if device == "cuda" else math.inf)
        for name, (_, usual) in STEPS.items():
            began = time.monotonic()
            # Twice what a step should take, as long as there is time for it.
            limit = max(1.0, min(2 * usual, end - began)) if device == "cuda" else None
            file = Path(folder) / "step.json"
            file.unlink(missing_ok=True)
            line = [sys.executable, "-m", "tests.gpu", "--device", device, "--step", name, "--out", str(file)]
            process = subprocess.Popen(line, cwd=ROOT, env=environment, start_new_session=True)
            step: dict[str, Any]
            try:
                process.wait(limit)
                step = json.loads(file.read_text()) if file.exists() else {"error": f"exit code {process.returncode}"}
            except subprocess.TimeoutExpired:
                step = {"error": f"took longer than {limit or 0:.0f} s"}
            finally:
                _kill(process)
            outcome = "failed" if "error" in step else "passed"
            report["steps"][name] = {"outcome": outcome, "seconds": time.monotonic() - began, **step}
            print(f"{name}: {outcome}, {time.monotonic() - began:.0f} s", flush=True)
            if "error" in step:
                print(step["error"], flush=True)
        for path in write(out, report):
            print(path)
    return int(any(step["outcome"] == "failed" for step in report["steps"].values()))


def _kill(process: "subprocess.Popen[bytes]") -> None:
    """Ends a step and what it has started."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


if __name__ == "__main__":
    sys.exit(main())
