"""The live view: a progress bar with the terms below it in a terminal, plain lines elsewhere."""

import time
from types import TracebackType

from rich.console import Console, Group
from rich.live import Live
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.text import Text

from gan_core.training.observer import Observer


class LiveView(Observer):
    """Shows progress, images per second, the time left, and the terms of the last log point."""

    def __init__(self, console: Console, length: int, images_seen: int) -> None:
        """Stores the run's length and the images already seen when it starts."""
        self.console, self.length = console, length
        self._started_at, self._first_seen, self._printed_at = time.monotonic(), images_seen, 0.0
        self._progress = Progress(
            TextColumn("{task.fields[kimg]} kimg"),
            BarColumn(bar_width=20),
            TextColumn("{task.percentage:3.0f}%"),
            TextColumn("{task.fields[rate]}"),
            TimeRemainingColumn(),
            console=console,
        )
        self._task = self._progress.add_task(
            "", total=length, completed=images_seen, kimg=f"{images_seen / 1000:.1f}", rate=""
        )
        self._live = Live(self._progress, console=console, transient=True)

    def __enter__(self) -> "LiveView":
        if self.console.is_terminal:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Gives the terminal back."""
        self._live.stop()

    def advance(self, images_seen: int) -> None:
        """Advances the bar."""
        self._progress.update(self._task, completed=images_seen, kimg=f"{images_seen / 1000:.1f}")

    def log(self, line: dict[str, float]) -> None:
        """Shows the terms; without a terminal, prints a line at most every 5 seconds."""
        rate, terms = f"{line['images_per_second']:,.0f} img/s", brief(line)
        self._progress.update(self._task, rate=rate)
        if self.console.is_terminal:
            self._live.update(Group(self._progress, Text(terms)))
            return
        now, seen = time.monotonic(), int(line["images_seen"])
        if now - self._printed_at < 5 and seen < self.length:
            return
        self._printed_at = now
        left = (now - self._started_at) / (seen - self._first_seen) * (self.length - seen)
        clock = time.strftime("%H:%M:%S", time.gmtime(max(0.0, left)))
        self.console.print(
            Text(f"{seen / 1000:.1f}/{self.length / 1000:g} kimg  {rate}  {clock} left  {terms}"), soft_wrap=True
        )


def brief(line: dict[str, float]) -> str:
    """Formats the terms of a log line: "discriminator real 0.43 fake 0.51 | generator adversarial 1.2"."""
    phases: dict[str, list[str]] = {}
    for key, value in line.items():
        phase, slash, term = key.partition("/")
        if slash and term not in ("gradient norm", "learning rate"):
            phases.setdefault(phase, []).append(f"{term} {value:.3g}")
    return " | ".join(f"{phase} {' '.join(terms)}" for phase, terms in phases.items())
