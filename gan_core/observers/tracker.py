"""What all trackers have in common: what they are told of a run, and that none that fails stops training."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from PIL import Image

from gan_core.console import warn
from gan_core.observers.listener import Alarm, Listener
from gan_core.runs.folder import RunFolder
from gan_core.runs.goal import Goal
from gan_core.settings.settings import Settings


@dataclass(frozen=True, kw_only=True)
class Tracked:
    """A run, as its trackers are told of it when they start.

    Attributes:
        folder: The run's folder.
        settings: Its settings.
        config: Its settings and options by dotted key, as plain values.
        metadata: Versions, data with fingerprints, and device; see `gan_core.app.job.run_metadata`.
        resumed_at: Images seen at the checkpoint from which it is resumed; None where it starts anew.
        class_names: The names of the classes; empty without labels.
        caption: What the grids of samples show.
        goals: Metrics, besides those of evaluations, whose best value is of interest.
    """

    folder: RunFolder
    settings: Settings
    config: Mapping[str, Any]
    metadata: Mapping[str, Any]
    resumed_at: int | None = None
    class_names: tuple[str, ...] = ()
    caption: str = ""
    goals: Mapping[str, Goal] = field(default_factory=dict)

    def picture(self, images_seen: int) -> Path:
        """The PNG file of a grid of samples, which the recorder has written: no tracker encodes it again."""
        return self.folder.samples / f"{images_seen:09d}.png"


@dataclass(frozen=True, kw_only=True)
class SavedGenerator:
    """The averaged networks of a checkpoint, for trackers that keep files.

    Attributes:
        files: The safetensors files.
        images_seen: Images seen at the checkpoint.
        aliases: "final", "best", or both.
    """

    files: tuple[Path, ...]
    images_seen: int
    aliases: tuple[str, ...]


class Tracker(Listener):
    """A tracker that has been started."""

    def keep(self, generator: SavedGenerator) -> None:
        """Called at the end of a finished run, with the final and with the best generator."""

    def finish(self) -> None:
        """Sends what is left, and closes the tracker."""


class Trackers(Listener):
    """All trackers of a run. Training continues without one that fails, after a warning."""

    def __init__(self) -> None:
        self.started: dict[str, Tracker] = {}

    def start(self, name: str, make: Callable[[], Tracker]) -> Exception | None:
        """Starts a tracker. Returns the error if it cannot be started."""
        try:
            self.started[name] = make()
        except Exception as error:
            return error
        return None

    def log(self, line: dict[str, float]) -> None:
        """Sends a log line."""
        self._each(lambda tracker: tracker.log(line))

    def sample(self, images_seen: int, grid: Image.Image) -> None:
        """Sends a grid of samples."""
        self._each(lambda tracker: tracker.sample(images_seen, grid))

    def evaluated(self, images_seen: int, evaluation: Mapping[str, Any]) -> None:
        """Sends an evaluation."""
        self._each(lambda tracker: tracker.evaluated(images_seen, evaluation))

    def warned(self, alarm: Alarm) -> None:
        """Sends an alarm."""
        self._each(lambda tracker: tracker.warned(alarm))

    def keep(self, generator: SavedGenerator) -> None:
        """Keeps a generator."""
        self._each(lambda tracker: tracker.keep(generator))

    def finish(self) -> None:
        """Closes all trackers."""
        self._each(lambda tracker: tracker.finish())
        self.started.clear()

    def _each(self, call: Callable[[Tracker], object]) -> None:
        for name, tracker in list(self.started.items()):
            try:
                call(tracker)
            except Exception as error:  # No error of a tracker may stop training.
                del self.started[name]
                warn(f"{name} failed and is disabled for the rest of the run: {type(error).__name__}: {error}")


def evaluation_rows(evaluation: Mapping[str, Any]) -> list[list[Any]]:
    """Returns a row for each scalar metric: its name, its value, that of real images or None, samples, reliable."""
    return [
        [
            name,
            metric["value"],
            metric.get("floor", {}).get("value"),
            metric["samples"],
            not metric.get("unreliable", False),
        ]
        for name, metric in evaluation["metrics"].items()
        if "value" in metric and not isinstance(metric["value"], list)
    ]


EVALUATION_COLUMNS = ("metric", "samples drawn", "real images", "number of samples", "reliable")
"""The columns of `evaluation_rows`."""


def class_shares(evaluation: Mapping[str, Any], names: tuple[str, ...]) -> list[list[Any]]:
    """Returns a row for each class: its name, its share of the samples and of real images. Empty without classes."""
    histogram = evaluation["metrics"].get("histogram", {})
    shares = histogram.get("value", [])
    if not shares:
        return []
    floors = histogram.get("floor", {}).get("value") or [None] * len(shares)
    known = names or tuple(map(str, range(len(shares))))
    return [[name, share, real] for name, share, real in zip(known, shares, floors, strict=True)]
