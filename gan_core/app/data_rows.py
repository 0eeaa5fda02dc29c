"""What a data set has in it, read through the interface of data sets."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from hashlib import blake2b
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from rich.console import Console

from gan_core.app.contact_sheet import sheet_of_rows
from gan_core.data.dataset import Dataset, Rows
from gan_core.data.pixels import treatment
from gan_core.data.residency import RESIDENT_BYTES
from gan_core.game.data_spec import ImageField, LabelField
from gan_core.progress import progress

SHOWN = 20
"""Sizes, and groups of repeated images, that are named."""

Report = dict[str, Any]
"""What was found, as plain values by name, for JSON and for the table."""

_BATCH = 256


def check_rows(
    dataset: Dataset, options: Mapping[str, Any], console: Console, *, sheet: bool
) -> tuple[Report, Image.Image | None]:
    """Reads the rows of every table and split through the interface of data sets."""
    parts, shown = [], None
    for split, counts in dataset.splits.items():
        for table, count in counts.items():
            rows = dataset.read(table, split)
            described = dataset.spec.tables[table]
            digests = bytearray()
            batches = (list(range(at, min(at + _BATCH, count))) for at in range(0, count, _BATCH))
            what = f"checking {count:,} rows of {table} in {split}"
            for row in progress(_rows(rows, batches), count, what, console):
                digests += row
            fields = {name: kind for name, kind in described.fields.items() if isinstance(kind, ImageField)}
            labels = {name: kind for name, kind in described.fields.items() if isinstance(kind, LabelField)}
            parts.append(
                {
                    "split": split,
                    "table": table,
                    "rows": count,
                    "images": {name: f"{kind.width} x {kind.height} {_colour(kind)}" for name, kind in fields.items()},
                    "classes": {
                        kind.names[number] if kind.names else str(number): int((rows.labels[name] == number).sum())
                        for name, kind in labels.items()
                        for number in range(kind.classes)
                    },
                    "bytes": count * sum(kind.channels * kind.height * kind.width for kind in fields.values()),
                    **repeats(
                        repeated(np.frombuffer(digests, np.uint8).reshape(-1, 16)), lambda number: f"row {number}"
                    ),
                }
            )
            if sheet and shown is None:
                shown = sheet_of_rows(rows, described.fields, count)
    report = {
        "data": dataset.spec.name,
        "parts": parts,
        "failing": dataset.skipped,
        "failures": list(dataset.left_out),
        "converted": treatment(dataset.converted, options.get("background", "white"), options.get("crop", "centre")),
        "resident": dataset.residency is None
        or sum(part["bytes"] for part in parts if part["split"] == "train") <= RESIDENT_BYTES,
        "refused": None,
        "flags": f"--dataset {dataset.spec.name}",
    }
    return report, shown


def _colour(kind: ImageField) -> str:
    return "grey" if kind.channels == 1 else "RGB"


def _rows(rows: Rows, batches: Iterator[list[int]]) -> Iterator[bytes]:
    """Yields the digest of the images of each row."""
    for batch in rows.batches(batches):
        columns = [column.cpu().numpy() for column in batch.values() if column.ndim > 1]
        for images in zip(*columns, strict=True):
            digest = blake2b(digest_size=16)
            for image in images:
                digest.update(image.tobytes())
            yield digest.digest()


def repeated(digests: NDArray[np.uint8]) -> list[list[int]]:
    """Returns the numbers of equal digests, (N, 16), a list for each that occurs more than once, in order."""
    _, kinds, counts = np.unique(
        np.ascontiguousarray(digests).view("V16").ravel(), return_inverse=True, return_counts=True
    )
    groups: dict[int, list[int]] = {}
    for number in np.flatnonzero(counts[kinds] > 1).tolist():
        groups.setdefault(int(kinds[number]), []).append(number)
    return list(groups.values())


def repeats(groups: Sequence[Sequence[int]], name: Callable[[int], str]) -> Report:
    """Returns how many images repeat an earlier one, and the first groups of equal ones, by name."""
    return {
        "repeated": sum(len(group) - 1 for group in groups),
        "repeats": [[name(number) for number in group[:SHOWN]] for group in groups[:SHOWN]],
    }
