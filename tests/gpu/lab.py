"""Where the steps work: a device, a folder, and ways to train there."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal
from unittest.mock import patch

import torch
from accelerate.state import AcceleratorState, GradientState
from rich.console import Console

from gan_core.app.training import start
from tests.runs import make_job

ROOT = Path(__file__).parents[2]
Result = dict[str, Any]
Launch = Callable[[Sequence[str], Sequence[Mapping[str, str]]], tuple[int, str]]
"""`launch(words, ranks)` runs `python -m` with these words, once with each rank's environment variables, at the same
time; it returns whether one failed (1 or 0) and all that they printed."""


def launch(words: Sequence[str], ranks: Sequence[Mapping[str, str]]) -> tuple[int, str]:
    """Runs real processes; see `Launch`."""
    line = [sys.executable, "-m", *words]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    processes = [subprocess.Popen(line, cwd=ROOT, env=os.environ | rank, **pipes) for rank in ranks]
    try:
        output = "\n".join(process.communicate(timeout=120)[0] for process in processes)
    finally:
        for process in processes:
            process.kill()
    return int(any(process.returncode for process in processes)), output


@dataclass(frozen=True, kw_only=True)
class Lab:
    """Where a step works.

    Attributes:
        device: The device of all runs.
        folder: An empty folder.
        short: Whether to take as few and as small steps as show that the code works.
        launch: How processes are started.
    """

    device: Literal["cpu", "cuda"]
    folder: Path
    short: bool
    launch: Launch = launch

    @property
    def on_gpu(self) -> bool:
        """Whether runs are on a GPU."""
        return self.device == "cuda"

    @contextmanager
    def on(self, device: str) -> Iterator[None]:
        """Lets gan_core use this kind of device within the block."""
        AcceleratorState._reset_state(reset_partial_state=True)
        GradientState._reset_state()
        with patch.dict(os.environ, ACCELERATE_USE_CPU=str(int(device == "cpu"))):
            yield
        AcceleratorState._reset_state(reset_partial_state=True)
        GradientState._reset_state()

    def train(self, name: str, *assignments: str, config: Path | None = None, **settings: object) -> Path:
        """Trains in this process to the end, and returns the run's folder, FOLDER/name."""
        out = self.folder / name
        with self.on(self.device):
            job = make_job(*assignments, config=config, out=out, **settings)
            assert start(job, (), Console(quiet=True)) == "finished"
        return out

    def reset_peak_memory(self) -> None:
        """Starts to count the peak of the memory of the GPU's tensors."""
        if self.on_gpu:
            torch.cuda.init()
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats()

    def peak_memory(self) -> str:
        """Returns that peak."""
        return f"{torch.cuda.max_memory_allocated() / 2**20:,.0f} MiB" if self.on_gpu else "not counted on CPUs"

    def synchronise(self) -> None:
        """Waits until the device has done all of its work."""
        if self.on_gpu:
            torch.cuda.synchronize()


QUIET = ("sample_every=1000000", "checkpoint_every=1000000")
"""Assignments of a run that draws samples and saves only at its begin and end."""


def images(lab: Lab) -> tuple[str, ...]:
    """Returns assignments for digits at 8 x 8, or enlarged to 32 x 32 where the networks shall have work."""
    return () if lab.short else ("image_size=32",)
