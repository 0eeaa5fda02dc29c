"""All alarms of a run: what watches for them, and who is told."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from PIL import Image

from gan_core.console import warn
from gan_core.observers.alarms.watch import Watch
from gan_core.observers.listener import Alarm, Listener
from gan_core.runs.folder import RunFolder


class Alarms(Listener):
    """Prints each alarm as a warning, adds it to `alarms` in run.json, and tells other listeners, such as trackers.

    No watch reads anything from the device: log lines, grids and evaluations are on the CPU already.
    """

    def __init__(self, watches: Sequence[Watch], folder: RunFolder, listeners: Sequence[Listener] = ()) -> None:
        self.watches, self.folder, self.listeners = watches, folder, listeners

    def log(self, line: dict[str, float]) -> None:
        """Gives a log line to the watches."""
        self._each(lambda watch: watch.log(line))

    def sample(self, images_seen: int, grid: Image.Image) -> None:
        """Lets the watches look at the samples of a grid."""
        del grid
        self._each(lambda watch: watch.sample(images_seen))

    def evaluated(self, images_seen: int, evaluation: Mapping[str, Any]) -> None:
        """Gives an evaluation to the watches."""
        self._each(lambda watch: watch.evaluated(images_seen, evaluation))

    def _each(self, call: Callable[[Watch], Alarm | None]) -> None:
        for alarm in filter(None, map(call, self.watches)):
            warn(alarm.text)
            before = self.folder.read_metadata().get("alarms", [])
            entry = {key: getattr(alarm, key) for key in ("kind", "since", "at", "seen")}
            self.folder.write_metadata(alarms=[*before, entry | {"remedies": list(alarm.remedies)}])
            for listener in self.listeners:
                listener.warned(alarm)
