"""What a report shows of a run, read from its folder: what cannot be read is said, and the rest is shown."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from gan_core.errors import UserError
from gan_core.evaluation.record import read_evaluation, read_evaluation_in_training
from gan_core.report.pictures import data_uri, shrunk
from gan_core.runs.folder import RunFolder
from gan_core.runs.grids import grid_files, read_picture
from gan_core.runs.listing import Row, list_runs
from gan_core.settings.flatten import dotted

MOST_FRAMES = 40
"""How many grids the slider has at most."""

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class RunReport:
    """One run.

    Attributes:
        name: Its folder.
        status: Its status, as `gan_core runs` shows it.
        images_seen: Images at the last log point, or None.
        settings: Its settings and the variant's options, by dotted key.
        metadata: The content of run.json.
        metrics: The lines of metrics.jsonl.
        evaluation: evaluation.json, else the last evaluation while training, else empty.
        floors: The real images' own score, by the name under which a metric is logged.
        frames: Grids of samples for the slider, by images seen: pictures as data URIs.
        grid: The last grid at full size, as a data URI; "" without one.
        closest: The samples nearest to a training image, as a data URI; "" without them.
        interpolation: A grid between samples, as a data URI; "" without one.
        problems: What could not be read, and why.
    """

    name: str
    status: str
    images_seen: int | None
    settings: Mapping[str, Any]
    metadata: Mapping[str, Any]
    metrics: list[dict[str, float]]
    evaluation: Mapping[str, Any]
    floors: Mapping[str, float]
    frames: list[tuple[int, str]]
    grid: str
    closest: str
    interpolation: str
    problems: list[str] = field(default_factory=list)


def read_run(root: Path, interpolate: Callable[[Path], str]) -> RunReport:
    """Reads a run.

    Args:
        root: Its folder.
        interpolate: Draws a grid of interpolations from a run, as a data URI.

    Raises:
        UserError: There is no run.
    """
    folder, problems = RunFolder(root), list[str]()
    if not folder.exists:
        raise UserError(f"{str(root)!r} is not a run: it has no config.yaml")

    def tried(read: Callable[[], T], otherwise: T) -> T:
        try:
            return read()
        except (UserError, OSError) as error:
            problems.append(str(error))
            return otherwise

    evaluations: list[dict[str, Any]] = [
        tried(lambda: read_evaluation(folder), dict[str, Any]()) if folder.evaluation.exists() else {},
        tried(lambda: read_evaluation_in_training(folder), dict[str, Any]())
        if folder.evaluation_in_training.exists()
        else {},
    ]
    files = grid_files(folder.samples)
    step = -(-len(files) // MOST_FRAMES) or 1
    chosen = files[::-1][::step][::-1]  # The last one is always there.
    pictures = [(seen, picture) for seen, file in chosen if (picture := read_picture(file, problems.append))]
    closest_file = root / "evaluation-closest.png"
    closest = read_picture(closest_file, problems.append) if closest_file.exists() else None
    rows = tried(lambda: [row for row in list_runs(root) if row.run == "."], list[Row]())
    return RunReport(
        name=str(root),
        status=rows[0].status if rows else "unreadable",
        images_seen=rows[0].images_seen if rows else None,
        settings=dotted(tried(folder.read_config, {})),
        metadata=tried(folder.read_metadata, {}),
        metrics=tried(folder.read_metrics, []),
        evaluation=next((one for one in evaluations if one), {}),
        floors={name: floor for one in evaluations[::-1] for name, floor in _floors(one).items()},
        frames=[(seen, data_uri(shrunk(picture))) for seen, picture in pictures],
        grid=data_uri(pictures[-1][1]) if pictures else "",
        closest="" if closest is None else data_uri(closest),
        interpolation=tried(lambda: interpolate(root), ""),
        problems=problems,
    )


def _floors(evaluation: Mapping[str, Any]) -> dict[str, float]:
    """Returns the floors of an evaluation, by the names under which its metrics are logged."""
    if not evaluation:
        return {}
    samples = evaluation["protocol"].get("samples")
    found = {}
    for name, metric in evaluation["metrics"].items():
        floor = metric.get("floor") if isinstance(metric, dict) else None
        value = floor.get("value") if isinstance(floor, dict) else None
        if isinstance(value, int | float):
            found[f"evaluation@{samples}/{name}"] = float(value)
    return found
