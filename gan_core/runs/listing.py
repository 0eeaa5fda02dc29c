"""The runs below a folder, with their progress and whether they are still running."""

import os
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from gan_core.errors import UserError
from gan_core.runs.folder import RunFolder
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
    """

    run: str
    status: str
    images_seen: int | None = None
    length: int | None = None
    variant: str = ""
    dataset: str = ""
    updated: float
    metrics: dict[str, float]

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
