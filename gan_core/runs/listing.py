"""The runs below a folder, with their progress and whether they are still running."""

import math
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from gan_core.errors import UserError, did_you_mean
from gan_core.runs.folder import RunFolder
from gan_core.runs.goal import goal_of
from gan_core.runs.process import has_ended


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """One run.

    Attributes:
        run: Its folder, relative to the listed one.
        status: "running", "finished", "interrupted" (saved, can be resumed), "failed", "killed" (marked as running, but
            its process has ended), or "unreadable: " and why.
        images_seen: Images at the last log point, or None before the first.
        length: Images in total, or None where that is not known yet.
        variant: The GAN variant.
        dataset: The data set.
        updated: When its metadata or metrics were last written (Unix seconds).
        metrics: The last line of its metrics.
        value: The last value of the metric by which runs are sorted; None without one.
    """

    run: str
    status: str
    images_seen: int | None = None
    length: int | None = None
    variant: str = ""
    dataset: str = ""
    updated: float
    metrics: dict[str, float]
    value: float | None = None

    def as_json(self) -> dict[str, Any]:
        """Returns the row as plain values."""
        return asdict(self)


def list_runs(parent: Path) -> list[Row]:
    """Returns the runs in a folder and its subfolders, the most recently updated first.

    Raises:
        UserError: `parent` is not a folder.
    """
    if not parent.is_dir():
        raise UserError(f"{str(parent)!r} is not a folder")
    rows = [_row(folder, str(folder.root.relative_to(parent))) for folder in _folders(parent)]
    return sorted(rows, key=lambda row: row.updated, reverse=True)


def sorted_by(metric: str, parent: Path, rows: Sequence[Row]) -> list[Row]:
    """Returns runs with their last value of a metric, the best first, and at the end those that have not logged it.

    Metrics of which it is not known whether more is better, such as losses, are sorted from the lowest on.

    Args:
        metric: As in metrics.jsonl, such as "evaluation@2000/fid".
        parent: The folder that `list_runs` listed.
        rows: The runs in it.

    Raises:
        UserError: No run has logged the metric.
    """
    values: dict[str, float] = {}
    known: dict[str, None] = {}
    for row in rows:
        with suppress(UserError):  # Its row says so.
            for line in RunFolder(parent / row.run).read_metrics():
                known |= dict.fromkeys(line)
                if metric in line:
                    values[row.run] = line[metric]
    if rows and not values:
        raise UserError(
            f"sort: no run in {str(parent)!r} has logged {metric!r}.{did_you_mean(metric, known)} "
            f"Allowed: {', '.join(known) or 'none'}"
        )
    sign = -1 if goal_of(metric) == "max" else 1
    found = [replace(row, value=values.get(row.run)) for row in rows]
    return sorted(found, key=lambda row: math.inf if row.value is None else sign * row.value)


def _folders(parent: Path) -> Iterator[RunFolder]:
    for root, below, files in os.walk(parent):
        if "config.yaml" in files and "run.json" in files:
            below.clear()  # Runs are not nested.
            yield RunFolder(Path(root))


def _row(folder: RunFolder, name: str) -> Row:
    files = (folder.metadata, folder.metrics)
    updated = max((file.stat().st_mtime for file in files if file.exists()), default=time.time())
    try:
        config, metadata, last = folder.read_config(), folder.read_metadata(), folder.read_last_metrics()
    except UserError as error:
        return Row(run=name, status=f"unreadable: {error}", updated=updated, metrics={})
    status = metadata.get("status", "unreadable: run.json has no status")
    if status == "running" and has_ended(metadata.get("process", {})):
        status = "killed"
    return Row(
        run=name,
        status=status,
        images_seen=int(last["images_seen"]) if last else None,
        length=metadata.get("length"),
        variant=str(config.get("variant", "")),
        dataset=str(config.get("dataset", "")),
        updated=updated,
        metrics=last,
    )
