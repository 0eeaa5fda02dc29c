"""The view of a run in a notebook: a progress bar with the terms below it, in the output of the cell."""

import html
import time
from collections.abc import Sequence
from importlib import import_module
from types import TracebackType
from typing import Any

from rich.console import Console

from gan_core.observers.history import Measured
from gan_core.observers.live import brief, evaluation_line
from gan_core.training.observer import Observer

_SECONDS = 0.5
"""At most so often the bar is drawn again."""


class NotebookView(Observer):
    """Shows progress, images per second, the time left, and the terms of the last log point; needs no widgets."""

    def __init__(self, console: Console, length: int, images_seen: int) -> None:
        """Stores the run's length and the images already seen when it starts."""
        del console
        self.length, self._seen, self._first_seen = length, images_seen, images_seen
        self._started_at, self._shown_at = time.monotonic(), 0.0
        self._rate = self._terms = self._evaluation = ""
        self._handle: Any = None

    def __enter__(self) -> "NotebookView":
        # A notebook has it; elsewhere it need not be installed.
        self._handle = import_module("IPython.display").display(self._content(), raw=True, display_id=True)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Draws the bar as it is at the end."""
        self._show()

    @property
    def elapsed(self) -> float:
        """Seconds since training began."""
        return time.monotonic() - self._started_at

    def evaluated(self, images_seen: int, measured: Sequence[Measured]) -> None:
        """Shows an evaluation."""
        self._evaluation = evaluation_line(images_seen, measured)

    def advance(self, images_seen: int) -> None:
        """Advances the bar."""
        self._seen = images_seen
        if time.monotonic() - self._shown_at >= _SECONDS:
            self._show()

    def log(self, line: dict[str, float]) -> None:
        """Shows the terms."""
        self._rate, self._terms = f"{line['images_per_second']:,.0f} img/s", brief(line)

    def _show(self) -> None:
        self._shown_at = time.monotonic()
        if self._handle is not None:
            self._handle.update(self._content(), raw=True)

    def _content(self) -> dict[str, str]:
        """Returns the bar as text and as HTML, of which a notebook shows the one that it can."""
        done = self._seen - self._first_seen
        seconds = self.elapsed / done * (self.length - self._seen) if done else None
        left = "" if seconds is None else f"{time.strftime('%H:%M:%S', time.gmtime(seconds))} left"
        share = f"{100 * self._seen // self.length}%"
        words = [f"{self._seen / 1000:.1f}/{self.length / 1000:g} kimg", share, self._rate, left]
        text = "  ".join(filter(None, words))
        bar = f'<progress value="{self._seen}" max="{self.length}"></progress>'
        lines = [line for line in (self._terms, self._evaluation) if line]
        small = "".join(f"<br><small>{html.escape(line)}</small>" for line in lines)
        return {"text/plain": "\n".join([text, *lines]), "text/html": f"<div>{bar} {html.escape(text)}{small}</div>"}
