"""The table of runs: the names stand in full on a terminal of any width, and other columns give way to them."""

import time
from collections.abc import Sequence

from rich.table import Table

from gan_core.observers.live import brief
from gan_core.runs.listing import Row

_NARROW, _WIDE = 72, 120
"""Widths in characters: below the first only the status is shown, and the terms only from the second on."""
_NAME = 24
"""Characters of a name that stand on one line at least, where it has as many."""


def runs_table(rows: Sequence[Row], width: int, metric: str | None = None) -> Table:
    """Returns a table with a row per run for a console of `width` characters; with the `metric` that sorts them."""
    table = Table(box=None, pad_edge=False, header_style="bold", expand=width >= _WIDE)
    table.add_column("run", overflow="fold", min_width=min(_NAME, max(len(row.run) for row in rows)))
    if metric is not None:
        table.add_column(metric, overflow="fold", justify="right")
    columns = ["status", "progress", "variant", "data", "updated", "terms"]
    del columns[1 if width < _NARROW else 5 if width < _WIDE else 6 :]
    for column in columns:
        table.add_column(column, overflow="ellipsis", no_wrap=True, ratio=1 if column == "terms" else None)
    for row in rows:
        updated = _ago(time.time() - row.updated)
        cells = (row.status, _progress(row), row.variant, row.dataset, updated, brief(row.metrics))
        sorting = () if metric is None else ("" if row.value is None else f"{row.value:.5g}",)
        table.add_row(row.run, *sorting, *cells[: len(columns)])
    return table


def _progress(row: Row) -> str:
    if not row.length or row.length < 0:
        return ""
    seen = row.images_seen or 0
    return f"{seen / 1000:g}/{row.length / 1000:g} kimg {100 * seen // row.length}%"


def _ago(seconds: float) -> str:
    """Formats a time span in its largest unit: "5 s ago", "3 h ago"."""
    for unit, length in (("d", 86_400), ("h", 3600), ("min", 60)):
        if seconds >= length:
            return f"{seconds / length:.0f} {unit} ago"
    return f"{max(0.0, seconds):.0f} s ago"
