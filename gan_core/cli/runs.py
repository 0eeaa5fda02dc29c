"""`gan_core runs`."""

import json
import time
from pathlib import Path
from typing import Annotated

import typer


def runs(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Folder to search, with its subfolders.")] = Path(
        "runs"
    ),
    *,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """List runs with status, progress, variant, data set, and the last logged terms.

    The status is running, finished, interrupted (saved; the same command resumes it), failed, or killed (its process
    ended without saving; the same command resumes from the last checkpoint).
    """
    from gan_core.observers.live import brief
    from gan_core.runs.listing import Row, list_runs

    rows = list_runs(folder)
    if as_json:
        print(json.dumps([row.as_json() for row in rows], indent=2))
        return
    from rich.table import Table

    from gan_core.console import PlainConsole

    console = PlainConsole(table=True)
    if not rows:
        console.print(f"No runs in {folder}.", soft_wrap=True)
        return

    def progress(row: Row) -> str:
        if row.length is None:
            return ""
        seen = row.images_seen or 0
        return f"{seen / 1000:g}/{row.length / 1000:g} kimg {100 * seen // row.length}%"

    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("run", "status", "progress", "variant", "data", "updated", "terms"):
        table.add_column(column, overflow="fold" if column == "run" else "ellipsis", no_wrap=column != "run")
    for row in rows:
        updated = _ago(time.time() - row.updated)
        table.add_row(row.run, row.status, progress(row), row.variant, row.dataset, updated, brief(row.metrics))
    console.print(table)


def _ago(seconds: float) -> str:
    """Formats a time span in its largest unit: "5 s ago", "3 h ago"."""
    for unit, length in (("d", 86_400), ("h", 3600), ("min", 60)):
        if seconds >= length:
            return f"{seconds / length:.0f} {unit} ago"
    return f"{max(0.0, seconds):.0f} s ago"
