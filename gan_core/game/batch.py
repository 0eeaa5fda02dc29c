"""The batch that a loss receives: real rows, the generator's inputs, random numbers, and where the run stands."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from torch import Tensor

Inputs = Mapping[str, Tensor]
"""Keyword arguments of the generator, `generator(**inputs)`; the first dimension of each is the batch."""


class Randomness(Protocol):
    """Random numbers for one update, on the batch's device and with the dtype of its images.

    They are the same on any number of processes and after a resume.
    """

    def uniform(self, *shape: int) -> Tensor:
        """Returns a sample of U[0, 1) of shape (B, *shape): one tensor of `shape` per real row."""

    def normal(self, *shape: int) -> Tensor:
        """Returns a sample of N(0, 1) of shape (B, *shape): one tensor of `shape` per real row."""


class Processes(Protocol):
    """All processes of a run, for values that depend on the whole micro-batch: minibatch statistics, pools, means.

    Every process must make the same calls in the same order. All results can be differentiated any number of times.
    """

    def gather(self, rows: Tensor) -> Tensor:
        """Returns the rows of all processes in the order of the global micro-batch: (b, ...) -> (W b, ...)."""

    def share(self, rows: Tensor) -> Tensor:
        """Returns this process's rows of a global micro-batch: (W b, ...) -> (b, ...)."""

    def mean(self, value: Tensor) -> Tensor:
        """Returns the mean over processes of a tensor of the same shape on each."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Moment:
    """Where a run stands.

    Attributes:
        images_seen: Real rows shown before this step.
        progress: images_seen divided by the run's length, 0 to 1; a run that is given another length has another one.
        batch: Rows in a global batch, over all processes and micro-batches.
    """

    images_seen: int
    progress: float
    batch: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Batch:
    """One micro-batch on this process: B real rows of each table, on the run's device; float32, or float64 with fp64.

    Attributes:
        real: Real rows by field: images (B, C, H, W) in [-1, 1], labels (B,) int64. Fields of one table belong together
            row by row; tables are shuffled independently.
        inputs: The generator's inputs for B · `Phase.fakes` fakes, as returned by the game's `draw`.
        fake: What `Phase.make_fake` made of this batch, by name. A gradient reaches the networks that the phase trains.
        random: Random numbers for the loss, such as the ε of a gradient penalty.
        moment: Where the run stands.
        processes: All processes of the run.
    """

    real: Mapping[str, Tensor]
    inputs: Inputs
    random: Randomness
    moment: Moment
    processes: Processes
    fake: Mapping[str, Tensor] = field(default_factory=dict)

    @property
    def images(self) -> Tensor:
        """The field `images`, (B, C, H, W) in [-1, 1]."""
        return self.real["images"]

    @property
    def labels(self) -> Tensor | None:
        """The field `labels`, (B,) int64, or None if the data set has none."""
        return self.real.get("labels")
