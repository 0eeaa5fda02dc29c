"""What one process of a measurement does."""

import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from math import lcm
from pathlib import Path
from statistics import fmean
from typing import Any, Literal

import psutil
import torch
from pydantic import BaseModel, ConfigDict
from rich.console import Console
from torch import Tensor

from gan_core.app.job import Job, make_job
from gan_core.app.training import start
from gan_core.bench import plain
from gan_core.bench.stopwatch import Stopwatch, now
from gan_core.cores import threads_of_process
from gan_core.distributed.hardware import describe_device
from gan_core.distributed.launcher import started_processes
from gan_core.distributed.world import dtype_of, on_cpu
from gan_core.game.game import Game
from gan_core.precision import arithmetic
from gan_core.settings.resolve import resolve
from gan_core.training.observer import Observer
from gan_core.training.state import cadence

Answer = dict[str, Any]

Source = Callable[[plain.Real, int], Iterator[plain.Real]]
"""Yields shuffled batches of a table of rows, without end."""

WARM_UP = 3
"""Steps before the parts are measured."""
_DECODED_BYTES = 2 << 30
"""The plain loop holds so many bytes of float32 images; of a larger data set it takes the first ones."""


class Request(BaseModel):
    """What to measure.

    Attributes:
        kind: "training" for the rate, "parts" for the parts of a step, "plain" or "tensor" for the plain loop with a
            DataLoader or with images in a tensor.
        settings: The file with the settings of the run.
        folder: A folder for what the run writes.
        window: Steps in a window.
        windows: Windows that count; one more comes before them.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["training", "parts", "plain", "tensor"]
    settings: Path
    folder: Path
    window: int
    windows: int = 2


@dataclass(frozen=True)
class _Run:
    """A run of the settings that is as long as the measurement."""

    job: Job
    game: Game
    device: torch.device

    @property
    def step_images(self) -> int:
        return self.job.settings.batch * self.game.batches_per_step

    def train(self, folder: Path, steps: int, every: int, observer: Observer) -> None:
        """Trains for `steps` steps, with a log point, a grid and a checkpoint after `every` steps."""
        kimg = every * self.step_images / 1000
        length = {"steps": steps, "kimg": None, "epochs": None}
        output = {"log_every": kimg, "sample_every": kimg, "checkpoint_every": kimg, "out": folder, "resume": "never"}
        unused = dict.fromkeys(("evaluate_every", "track", "keep_every", "keep_lowest", "keep_highest"))
        settings = self.job.settings.model_copy(update=length | output | unused)
        start(replace(self.job, settings=settings), (), Console(quiet=True), observers=[observer])


def answer(request: Request) -> Answer:
    """Measures."""
    job = make_job(resolve({}, (), request.settings))
    device = torch.device("cpu" if on_cpu() else torch.accelerator.current_accelerator() or "cpu")
    run = _Run(job, job.build(), device)
    measure: dict[str, Callable[[_Run, Request], Answer]] = {
        "training": _training,
        "parts": _parts,
        "plain": partial(_plain, plain.loader),
        "tensor": partial(_plain, plain.tensor),
    }
    return measure[request.kind](run, request) | {"step_images": run.step_images, "peak_memory": _peak_memory(device)}


def _training(run: _Run, request: Request) -> Answer:
    watch = Stopwatch(request.window, run.step_images, run.device)
    run.train(request.folder / "run", request.window * (request.windows + 1), request.window, watch)
    if not watch.steps:  # Not the main process.
        return {}
    seconds = watch.seconds()
    settings, length = run.job.settings, run.job.length(run.step_images)
    steps = length // run.step_images
    logs = length // cadence(settings.log_every, length // 500)
    samples = 1 + length // cadence(settings.sample_every, length // 20)
    checkpoints = max(1, length // cadence(settings.checkpoint_every, length // 20))
    return {
        "step": seconds["step"],
        "logging": seconds["log"] * logs / steps,
        "sampling": seconds["sample"] * samples / steps,
        "checkpoints": seconds["checkpoint"] * checkpoints / steps,
        "steps": steps,
        "one_log_point": seconds["log"],
        "one_grid": seconds["sample"],
        "one_checkpoint": seconds["checkpoint"],
    }


def _parts(run: _Run, request: Request) -> Answer:
    from gan_core.bench.parts import PartsObserver
    from gan_core.bench.peak import peak

    last, counted = WARM_UP + request.window, lcm(*(phase.every for phase in run.game.phases))
    observer = PartsObserver(WARM_UP, last, counted, run.step_images, run.device)
    steps = last + counted
    run.train(request.folder / "run", steps, steps, observer)
    settings, traffic = run.job.settings, observer.traffic
    precision = {"bf16": torch.bfloat16, "fp16": torch.float16}.get(settings.precision, dtype_of(settings.precision))
    with arithmetic(**settings.arithmetic):
        peaks = peak(run.device, precision) if started_processes() == 1 else {}
    return {
        "step": observer.total / request.window,
        "shares": observer.shares() if observer.total else {},
        "flop": observer.flops.get_total_flops() / counted,
        "peak": peaks,
        "bytes": traffic.bytes / counted,
        "collectives": traffic.collectives / counted,
        "statistics": traffic.statistics / counted,
        "gradients": _gradient_bytes(run),
        "device": describe_device(run.device)["name"],
        "threads": torch.get_num_threads(),
    }


def _gradient_bytes(run: _Run) -> float:
    """Returns the bytes of the gradients of a step: of each trained parameter once in each update."""
    size = dtype_of(run.job.settings.precision).itemsize
    total = 0.0
    for phase in run.game.phases:
        trained = {id(p): p.numel() for name in phase.trains for p in run.game.networks[name].parameters()}
        total += sum(trained.values()) * size * phase.repeats / phase.every
    return total


def _plain(source: Source, run: _Run, request: Request) -> Answer:
    settings = run.job.settings
    torch.set_num_threads(threads_of_process(settings.threads))
    # The plain loop has torch's own convolutions, as a hand-written one has.
    with arithmetic(**settings.arithmetic | {"fast_convolutions": False}):
        real = _real(source, run)
        loop = plain.PlainLoop(
            run.game, settings.batch, run.job.length(run.step_images), run.device, dtype_of(settings.precision)
        )
        seconds = []
        for _ in range(request.windows + 1):
            before = now(run.device)
            for _ in range(request.window):
                loop.step(real)
            seconds.append((now(run.device) - before) / request.window)
    return {"step": fmean(seconds[1:])}


def _real(source: Source, run: _Run) -> Iterator[plain.Real]:
    """Yields the real rows of every update, from decoded tables."""
    tables = [source(_decoded(run, name), run.job.settings.batch) for name in run.job.dataset.spec.tables]
    while True:
        yield {name: column for table in tables for name, column in next(table).items()}


def _decoded(run: _Run, table: str) -> dict[str, Tensor]:
    """Returns a table's rows: images float in [-1, 1], on the CPU."""
    rows, dtype = run.job.dataset.read(table, "train"), dtype_of(run.job.settings.precision)
    described = run.job.dataset.spec.tables[table]
    row = sum(4 * torch.Size(getattr(field, "shape", ())).numel() for field in described.fields.values())
    count = min(described.count, max(run.job.settings.batch, _DECODED_BYTES // row))
    (found,) = rows.batches([list(range(count))])
    return {
        name: column.to(dtype).div_(127.5).sub_(1.0) if column.ndim > 1 else column for name, column in found.items()
    }


def _peak_memory(device: torch.device) -> int:
    """Returns the largest memory of this process in bytes: on a GPU what torch allocated there."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    if sys.platform == "win32":
        return int(psutil.Process().memory_info().peak_wset)
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
