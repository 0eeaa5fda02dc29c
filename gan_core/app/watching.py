"""What shows and watches a run: the view for a terminal or a notebook, and the watches for alarms."""

from typing import Any

import torch
from rich.console import Console

from gan_core.app.job import Job
from gan_core.observers.alarms.collapse import Collapse, GridSampler
from gan_core.observers.alarms.gradients import ExplodingGradients
from gan_core.observers.alarms.saturation import Saturation
from gan_core.observers.alarms.slowdown import Slowdown
from gan_core.observers.alarms.watch import Watch
from gan_core.observers.live import LiveView
from gan_core.observers.notebook import NotebookView
from gan_core.training.batch_source import BatchSource

_REAL = 64
"""How many real images samples are compared with."""


def make_view(console: Console, length: int, images_seen: int) -> LiveView | NotebookView:
    """Returns the view that shows progress on this console."""
    kind: Any = NotebookView if console.is_jupyter and not console.quiet else LiveView
    view: LiveView | NotebookView = kind(console, length, images_seen)
    return view


def make_watches(job: Job, source: BatchSource, sampler: GridSampler, images_seen: int, length: int) -> list[Watch]:
    """Returns what watches a run for alarms.

    Args:
        job: The run.
        source: Its batches; a few of its real images are read.
        sampler: Draws the grids of samples.
        images_seen: Images seen when it starts.
        length: Its length in images.
    """
    watches: list[Watch] = [Slowdown(images_seen), Saturation(), ExplodingGradients()]
    table, field = job.dataset.table_of(sampler.output.like), sampler.output.like
    count = job.dataset.spec.tables[table].count
    if count >= 2:
        indices = torch.linspace(0, count - 1, min(_REAL, count)).long().tolist()
        real = next(iter(source.tables[table].batches([indices])))[field].cpu()
        names = job.dataset.spec.class_names if job.dataset.spec.classes else ()
        watches.append(Collapse(lambda: sampler.last, real, length, names))
    return watches
