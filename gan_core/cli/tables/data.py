"""What `gan_core data check` prints."""

from collections.abc import Iterator, Mapping
from typing import Any

from rich.console import Console
from rich.text import Text

from gan_core.app.data_rows import Report
from gan_core.console import printable

_NAMED = 20
"""Classes, and groups of equal images, that are named."""


def print_report(report: Report, console: Console) -> None:
    """Prints what was found, in two columns."""
    for key, value in _rows(report):
        console.print(Text.assemble((f"{key:<10}", "bold"), "  ", printable(value)), soft_wrap=True)


def _rows(report: Report) -> Iterator[tuple[str, str]]:
    yield "data", report["data"]
    if "parts" in report:
        for part in report["parts"]:
            yield from _part(part)
        if report["converted"]:
            yield "converted", ", ".join(report["converted"])
        yield "memory", "resident" if report["resident"] else "streamed"
    else:
        yield from _folder(report)
    if report["failing"]:
        yield "failing", f"{report['failing']:,} files" + "".join(f"\n  {line}" for line in report["failures"])
    yield "training", "would be refused: " + report["refused"] if report["refused"] else "would start"
    yield "flags", report["flags"]


def _folder(report: Report) -> Iterator[tuple[str, str]]:
    splits = ", ".join(f"{count:,} files in {split}" for split, count in report["splits"].items())
    yield "images", f"{report['images']:,}" + (f" ({splits})" if splits else "")
    more = f", and {report['other sizes']:,} other sizes" if report["other sizes"] else ""
    yield "sizes", _counts(report["sizes"]) + more
    yield "modes", _counts(report["modes"])
    yield "formats", _counts(report["formats"])
    yield from _classes(report["classes"])
    yield from _repeats(report)
    if report["size"]:
        yield "becomes", ", ".join([f"{report['size']} pixels", *report["converted"], *_enlarged(report)])
        where = "resident" if report["resident"] else "streamed"
        yield "memory", f"{where}, {_size(report['bytes'])} of pixels"


def _enlarged(report: Report) -> list[str]:
    return [f"{report['enlarged']:,} that are smaller are enlarged"] if report["enlarged"] else []


def _part(part: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yields the rows of one table in one split."""
    images = ", ".join(size if name == "images" else f"{name}: {size}" for name, size in part["images"].items())
    yield part["split"], f"{part['rows']:,} rows of {part['table']}, {images}, {_size(part['bytes'])}"
    yield from _classes(part["classes"])
    yield from _repeats(part)


def _classes(counts: Mapping[str, int]) -> Iterator[tuple[str, str]]:
    if not counts:
        yield "classes", "none"
        return
    least, most = min(counts.values()), max(counts.values())
    balance = "balanced" if least == most else f"from {least:,} to {most:,} images"
    more = f", and {len(counts) - _NAMED} more" if len(counts) > _NAMED else ""
    yield "classes", f"{len(counts)}, {balance}: {_counts(dict(list(counts.items())[:_NAMED]))}{more}"


def _repeats(report: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    groups = "".join(f"\n  {' = '.join(group)}" for group in report["repeats"])
    yield "repeated", f"{report['repeated']:,} images equal an earlier one{groups}" if groups else "none"


def _counts(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{name} ({count:,})" for name, count in counts.items()) or "none"


def _size(count: int) -> str:
    return f"{count / 2**20:,.1f} MiB" if count >= 2**20 else f"{count / 2**10:,.1f} KiB"
