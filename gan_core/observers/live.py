"""The live view: progress and tables that are kept up to date in a terminal, plain lines elsewhere."""

import time
from collections.abc import Sequence
from datetime import timedelta
from types import TracebackType

import psutil
from rich.columns import Columns
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.padding import Padding
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from gan_core.console import printable
from gan_core.observers.history import History, Measured
from gan_core.training.observer import Observer

_OWN = ("gradient norm", "learning rate")
"""Terms that the core logs of each phase: they are no losses."""


class LiveView(Observer):
    """Shows progress, rate, time and memory, the terms with their trend, and the last evaluation with its floors."""

    def __init__(self, console: Console, length: int, images_seen: int) -> None:
        """Stores the run's length and the images already seen when it starts."""
        self.console, self.length = console, length
        self._started_at, self._first_seen, self._printed_at = time.monotonic(), images_seen, 0.0
        self._seen, self._rate = images_seen, ""
        self._terms: dict[str, History] = {}
        self._evaluated_at, self._measured, self._best = 0, list[Measured](), dict[str, float]()
        self._live = Live(console=console, transient=True, get_renderable=self._rendered, refresh_per_second=4)

    def __enter__(self) -> "LiveView":
        self._started_at = time.monotonic()
        if self.console.is_terminal:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
        if kind is None and self._measured and self.console.is_terminal:
            self.console.print(self._evaluation())

    def close(self) -> None:
        """Gives the terminal back."""
        self._live.stop()

    @property
    def elapsed(self) -> float:
        """Seconds since training began."""
        return time.monotonic() - self._started_at

    def advance(self, images_seen: int) -> None:
        """Advances the bar."""
        self._seen = images_seen

    def evaluated(self, images_seen: int, measured: Sequence[Measured]) -> None:
        """Shows an evaluation; without a terminal, prints a line."""
        self._evaluated_at, self._measured = images_seen, list(measured)
        for one in measured:
            self._best[one.title] = one.better(self._best.get(one.title, one.value))
        if not self.console.is_terminal:
            self._line(evaluation_line(images_seen, measured))

    def log(self, line: dict[str, float]) -> None:
        """Shows the terms; without a terminal, prints a line at most every 5 seconds."""
        self._seen, self._rate = int(line["images_seen"]), f"{line['images_per_second']:,.0f} img/s"
        for name, value in line.items():
            if "/" in name and not name.startswith("evaluation@"):
                self._terms.setdefault(name, History()).add(value)
        if self.console.is_terminal:
            return
        now = time.monotonic()
        if now - self._printed_at < 5 and self._seen < self.length:
            return
        self._printed_at = now
        self._line(f"{self._kimg()}  {self._rate}  {'  '.join(self._times())}  {brief(line)}")

    def _line(self, text: str) -> None:
        self.console.print(Text(printable(text)), soft_wrap=True)

    def _kimg(self) -> str:
        return f"{self._seen / 1000:.1f}/{self.length / 1000:g} kimg"

    def _times(self) -> tuple[str, str, str]:
        """Returns the time since the start, the time left and the memory of this process."""
        done = self._seen - self._first_seen
        left = self.elapsed / done * max(0, self.length - self._seen) if done else None
        remaining = "--:--:--" if left is None else clock(left)
        return f"{clock(self.elapsed)} elapsed", f"{remaining} left", memory()

    def _rendered(self) -> RenderableType:
        bar = Table.grid(padding=(0, 1))
        bar.add_row(
            ProgressBar(total=self.length, completed=self._seen, width=20),
            f"{100 * self._seen // self.length}%",
            self._kimg(),
            self._rate,
        )
        parts: list[RenderableType] = [bar, Text("  ".join(self._times()))]
        if tables := self._tables():
            parts.append(Columns(tables, padding=(0, 4)))
        if self._measured:
            parts.append(self._evaluation())
        return Group(*parts)

    def _tables(self) -> list[RenderableType]:
        """Returns a table of terms for each phase: the newest value, where it goes, and its lowest."""
        tables: dict[str, Table] = {}
        for name, history in self._terms.items():
            phase, _, term = name.partition("/")
            if term == "learning rate":
                continue
            if phase not in tables:
                tables[phase] = table = _table()
                table.add_column(printable(phase), overflow="ellipsis", no_wrap=True, max_width=24)
                for column in ("now", "trend", "lowest"):
                    table.add_column(column, justify="center" if column == "trend" else "right", no_wrap=True)
            lowest = "" if term in _OWN else f"{history.lowest:.3g}"
            tables[phase].add_row(printable(term), f"{history.newest:.3g}", self._arrow(history.trend), lowest)
        return [Padding(table, (1, 0, 0, 0)) for table in tables.values()]

    def _arrow(self, trend: int) -> str:
        signs = "↓→↑" if self.console.encoding.startswith("utf") else "-=+"
        return signs[trend + 1]

    def _evaluation(self) -> Padding:
        table = _table()
        table.add_column(f"evaluation at {self._evaluated_at / 1000:g} kimg", overflow="ellipsis", no_wrap=True)
        for column in ("value", "best", "real images"):
            table.add_column(column, justify="right", no_wrap=True)
        for one in self._measured:
            best = f"{self._best[one.title]:.4g}" if one.direction else ""
            floor = "" if one.floor is None else f"{one.floor:.4g}"
            table.add_row(one.title, f"{one.value:.4g}", best, floor)
        return Padding(table, (1, 0, 0, 0))


def _table() -> Table:
    return Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")


def clock(seconds: float) -> str:
    """Formats a time span: "0:04:10", "1 day, 2:00:00"."""
    return str(timedelta(seconds=int(seconds)))


def memory() -> str:
    """Returns the most memory that this process has had on its accelerator; on CPUs, what it has now."""
    import torch

    # Older versions of torch have no such function for all accelerators.
    most = getattr(torch.accelerator, "max_memory_allocated", lambda: 0)() if torch.accelerator.is_available() else 0
    size = most or psutil.Process().memory_info().rss
    return f"{size / 2**30:.1f} GiB{' on the accelerator' if most else ''}"


def evaluation_line(images_seen: int, measured: Sequence[Measured]) -> str:
    """Formats an evaluation: "evaluation at 50 kimg: FID 8.1 (real images 0.9), KID 0.02 (real images 0.001)"."""
    floors = ((one, "" if one.floor is None else f" (real images {one.floor:.4g})") for one in measured)
    text = ", ".join(f"{one.title} {one.value:.4g}{floor}" for one, floor in floors)
    return f"evaluation at {images_seen / 1000:g} kimg: {text}"


def brief(line: dict[str, float]) -> str:
    """Formats the terms of a log line: "discriminator real 0.43 fake 0.51 | generator adversarial 1.2"."""
    phases: dict[str, list[str]] = {}
    for key, value in line.items():
        phase, slash, term = key.partition("/")
        if slash and term not in _OWN:
            phases.setdefault(phase, []).append(f"{term} {value:.3g}")
    return " | ".join(f"{phase} {' '.join(terms)}" for phase, terms in phases.items())
