"""The page: a template that escapes all that stands in runs, with plotly's code, and nothing from a network."""

import json
import secrets
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from gan_core.console import printable
from gan_core.errors import UserError
from gan_core.evaluation.titles import TITLES
from gan_core.report.curves import colour, curves, histogram
from gan_core.report.read import RunReport
from gan_core.version import __version__

_FOLDER = Path(__file__).parent / "page"


def check_installed() -> None:
    """Checks that what draws reports is installed.

    Raises:
        UserError: It is not.
    """
    if missing := [name for name in ("plotly", "jinja2") if find_spec(name) is None]:
        raise UserError(f"report: needs {' and '.join(missing)}: pip install gan-core[report]")


def render(runs: Sequence[RunReport]) -> str:
    """Returns the page.

    Only scripts with the page's own secret run, and nothing is loaded from anywhere, whatever stands in the runs.
    """
    from jinja2 import Environment, FileSystemLoader, StrictUndefined
    from markupsafe import Markup
    from plotly.offline import get_plotlyjs

    environment = Environment(
        loader=FileSystemLoader(_FOLDER),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["shown"] = shown
    sections: dict[str, list[Any]] = {}
    for figure in curves(runs):
        sections.setdefault(figure.section, []).append(figure)
    metrics = [metric_rows(run) for run in runs]
    return environment.get_template("report.html.j2").render(
        runs=runs,
        colours=[colour(number) for number in range(len(runs))],
        sections=sections,
        histograms=[histogram(run, class_names(run)) for run in runs],
        metrics=metrics,
        differing=differing(runs),
        titles=[title for title in TITLES.values() if any(title in rows for rows in metrics)],
        version=__version__,
        nonce=secrets.token_urlsafe(16),
        css=Markup((_FOLDER / "report.css").read_text(encoding="utf-8")),  # noqa: S704  # Files of the package.
        script=Markup((_FOLDER / "report.js").read_text(encoding="utf-8")),  # noqa: S704
        plotly=Markup(get_plotlyjs()),  # noqa: S704
    )


def shown(value: object) -> str:
    """Returns a value of a setting or of metadata as text."""
    if value is None:
        return "–"
    if isinstance(value, float):
        return f"{value:.4g}"
    return printable(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str))


def metric_rows(run: RunReport) -> dict[str, tuple[str, str]]:
    """Returns the value and the floor of each metric of the run's evaluation, by title."""
    rows = {}
    for name, metric in run.evaluation.get("metrics", {}).items():
        if not isinstance(metric, dict) or not isinstance(metric.get("value"), int | float):
            continue
        floor = metric.get("floor")
        value = floor.get("value") if isinstance(floor, dict) else None
        error = f" ± {metric['error']:.2g}" if isinstance(metric.get("error"), int | float) else ""
        doubt = " (unreliable)" if metric.get("unreliable") else ""
        rows[TITLES.get(name, name)] = (
            f"{metric['value']:.4g}{error}{doubt}",
            f"{value:.4g}" if isinstance(value, int | float) else "",
        )
    return rows


def differing(runs: Sequence[RunReport]) -> list[str]:
    """Returns the settings in which the runs differ, except where they were written to."""
    keys = dict.fromkeys(key for run in runs for key in run.settings)
    return [
        key for key in keys if key != "out" and any(run.settings.get(key) != runs[0].settings.get(key) for run in runs)
    ]


def class_names(run: RunReport) -> list[str]:
    """Returns the names of the classes of the run's data; none where they have none."""
    for table in (run.metadata.get("data") or {}).values():
        fields = table.get("fields") if isinstance(table, dict) else None
        labels = fields.get("labels") if isinstance(fields, dict) else None
        names = labels.get("names") if isinstance(labels, dict) else None
        if isinstance(names, list):
            return [str(name) for name in names]
    return []
