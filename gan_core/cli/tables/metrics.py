"""The table of an evaluation: each metric above the real images' own score (the floor)."""

from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from gan_core.evaluation.titles import TITLES

_MEASURED_IN = {"unique": "pixels", "gan_train": "the test split", "l1": "pixels in [-1, 1]", "psnr": "dB"}
_MAX_CLASSES_SHOWN = 20


def print_metrics(written: dict[str, Any], console: Console) -> None:
    """Prints an evaluation as `gan_core.evaluation.record` returns it."""
    protocol, metrics = written["protocol"], written["metrics"]
    seen = f"{protocol['dataset']} at {written['images_seen'] / 1000:g} kimg"
    console.print(f"{seen}, protocol {protocol['name']}", soft_wrap=True)
    space = f"{protocol['features']} {(protocol['features_hash'] or '')[:8]}"
    console.print(f"feature space {space}: {protocol['provenance']}", soft_wrap=True)
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for column in ("metric", "value", "samples", "measured in"):
        table.add_column(column, overflow="fold")
    for name, title in TITLES.items():
        if (metric := metrics.get(name)) is None:
            continue
        if "skipped" in metric:
            table.add_row(title, f"skipped: {metric['skipped']}", "", "")
            continue
        where = _MEASURED_IN.get(name, space)
        value = shown(metric) + (" (unreliable)" if metric.get("unreliable") else "")
        table.add_row(Text(title, style="bold"), Text(value, style="bold"), f"{metric['samples']:,}", where)
        if "floor" in metric:
            table.add_row("  real images", shown(metric["floor"]), f"{metric['floor']['samples']:,}", where)
    console.print(table)
    for note in written["notes"]:
        console.print(note, soft_wrap=True)


def shown(metric: dict[str, Any]) -> str:
    """Returns a metric's value as text, with its error if it has one: "0.0123 ± 0.0004"."""
    value = metric["value"]
    if isinstance(value, list):
        more = f" and {len(value) - _MAX_CLASSES_SHOWN} more" if len(value) > _MAX_CLASSES_SHOWN else ""
        return " ".join(f"{share:.3f}" for share in value[:_MAX_CLASSES_SHOWN]) + more
    error = f" ± {metric['error']:.2g}" if "error" in metric else ""
    return f"{value:.4g}{error}"
