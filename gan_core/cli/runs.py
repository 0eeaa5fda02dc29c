"""`gan_core runs`."""

import json
from pathlib import Path
from typing import Annotated

import typer


def runs(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Folder to search, with its subfolders.")] = Path(
        "runs"
    ),
    *,
    sort: Annotated[
        str | None,
        typer.Option(metavar="METRIC", help="Best first by a metric of metrics.jsonl, such as evaluation@2000/fid."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """List runs with status, progress, variant, data set, and the last logged terms.

    The status is running, finished, interrupted (saved; the same command resumes it), failed, or killed (its process
    ended without saving; the same command resumes from the last checkpoint).
    """
    from gan_core.runs.listing import list_runs, sorted_by

    rows = list_runs(folder)
    if sort is not None:
        rows = sorted_by(sort, folder, rows)
    if as_json:
        print(json.dumps([row.as_json() for row in rows], indent=2))
        return
    from gan_core.cli.tables.runs import runs_table
    from gan_core.console import PlainConsole

    console = PlainConsole(table=True)
    if not rows:
        console.print(f"No runs in {folder}.", soft_wrap=True)
        return

    console.print(runs_table(rows, console.width, sort))
