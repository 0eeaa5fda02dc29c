"""The figures of a report, as plotly draws them: one for each term and metric, with a line for each run."""

import html
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from gan_core.console import printable
from gan_core.evaluation.titles import TITLES
from gan_core.report.read import RunReport

# Okabe & Ito 2008, Color Universal Design, without black and yellow, which do not show on dark or light pages.
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00")
_MOST_POINTS, _SMOOTHED = 2000, 20
"""Points of a line, and how many it has at least to be smoothed."""
_NOT_SHOWN = ("images_seen", "step")


@dataclass(frozen=True, kw_only=True, slots=True)
class Figure:
    """A figure: the name of its section, its title, and what plotly draws."""

    section: str
    title: str
    drawn: dict[str, Any]


def colour(number: int) -> str:
    """Returns the colour of the run of this number."""
    return COLOURS[number % len(COLOURS)]


def curves(runs: Sequence[RunReport]) -> Iterator[Figure]:
    """Yields a figure for each term and metric that a run has logged at least twice, evaluations first."""
    times = [Counter(name for line in run.metrics for name in line if name not in _NOT_SHOWN) for run in runs]
    names = dict.fromkeys(name for counts in times for name, count in counts.items() if count > 1)
    for name in sorted(names, key=_place):
        phase, slash, term = name.rpartition("/")
        title = TITLES.get(term, term) if phase.startswith("evaluation@") else term.replace("_", " ")
        data = [trace for number, run in enumerate(runs) for trace in _lines(run, name, number, len(runs) > 1)]
        yield Figure(section=phase if slash else "training", title=title, drawn=_figure(data, "thousands of images"))


def _place(name: str) -> tuple[bool, str, int]:
    """Returns what sorts the figures: metrics as in tables, then terms by phase, then what belongs to no phase."""
    phase, _, term = name.rpartition("/")
    titled = list(TITLES).index(term) if term in TITLES else len(TITLES)
    return not phase.startswith("evaluation@"), phase or "~", titled


def histogram(run: RunReport, names: Sequence[str]) -> dict[str, Any] | None:
    """Returns the share of each class among the samples beside that among the real images; None if not measured."""
    metric = run.evaluation.get("metrics", {}).get("histogram", {})
    metric = metric if isinstance(metric, dict) else {}
    floor = metric.get("floor")
    drawn, real = metric.get("value"), floor.get("value") if isinstance(floor, dict) else None
    shown = [
        ("samples", drawn, COLOURS[0]),
        ("real images", real, "#999999"),
    ]
    import plotly.graph_objects as go

    bars = []
    for title, shares, filled in shown:
        if isinstance(shares, list) and all(isinstance(share, int | float) for share in shares):
            labels = [_text(names[at]) if at < len(names) else str(at) for at in range(len(shares))]
            bars.append(go.Bar(x=labels, y=shares, name=title, marker={"color": filled}))
    if not bars:
        return None
    drawn_figure = _figure(bars, "")
    drawn_figure["layout"]["showlegend"] = True
    drawn_figure["layout"]["xaxis"]["type"] = "category"
    return drawn_figure


def _lines(run: RunReport, name: str, number: int, several: bool) -> Iterator[Any]:
    import plotly.graph_objects as go
    from scipy.ndimage import gaussian_filter1d

    points = [(line["images_seen"] / 1000, line[name]) for line in run.metrics if name in line]
    points = points[:: -(-len(points) // _MOST_POINTS) or 1]
    if not points:
        return
    x, y = (list(column) for column in zip(*points, strict=True))
    shown, line = _text(run.name) if several else "", {"color": colour(number)}
    if len(points) < _SMOOTHED:
        yield go.Scatter(x=x, y=y, name=shown, mode="lines+markers", line=line)
    else:
        yield go.Scatter(x=x, y=y, name=shown, mode="lines", line={**line, "width": 1}, opacity=0.3, hoverinfo="skip")
        smooth = gaussian_filter1d(y, len(y) / 60, mode="nearest").tolist()
        yield go.Scatter(x=x, y=smooth, name=shown, mode="lines", line={**line, "width": 2})
    if name in run.floors:
        ends, floor = [min(x), max(x)], [run.floors[name]] * 2
        dashed = {**line, "dash": "dash", "width": 1.5}
        yield go.Scatter(x=ends, y=floor, name=f"{shown} real images".strip(), mode="lines", line=dashed)


def _figure(data: Sequence[Any], below: str) -> dict[str, Any]:
    """Returns the figure as plain values. The page sets the colour of its text, for dark and for light pages."""
    import plotly.graph_objects as go

    axis = {"automargin": True, "gridcolor": "rgba(128,128,128,0.25)", "zeroline": False}
    layout = go.Layout(
        template=go.layout.Template(),
        paper_bgcolor="rgba(0,0,0,0)",
        plot_bgcolor="rgba(0,0,0,0)",
        margin_l=8,
        margin_r=8,
        margin_t=8,
        margin_b=8,
        height=240,
        font={"size": 12, "color": "#808080"},
        hovermode="x unified",
        hoverlabel={"bgcolor": "#222222", "font": {"color": "#ffffff"}},
        legend={"orientation": "h", "y": 1.2},
        showlegend=False,
        xaxis={**axis, "title": {"text": below}},
        yaxis=axis,
    )
    drawn: dict[str, Any] = go.Figure(data=list(data), layout=layout).to_dict()
    return drawn


def _text(text: str) -> str:
    """Returns text for plotly, which reads tags of HTML in names."""
    return html.escape(printable(text))
