"""Naming a checkpoint of a run: the newest, the best by the metric that the run keeps, or by its images seen."""

from collections.abc import Callable, Iterable, Mapping

from gan_core.errors import UserError, did_you_mean
from gan_core.runs.checkpoint import Checkpoint, intact, newest, numbered
from gan_core.runs.folder import RunFolder
from gan_core.settings.settings import Settings

NEWEST, BEST = "newest", "best"
_DISTANCES = ("fid", "fid50k", "kid", "kid50k")


def at_kimg(text: str) -> str | int:
    """Returns the images seen for a number of thousands of images; other texts stay."""
    try:
        return round(float(text) * 1000)
    except (ValueError, OverflowError):
        return text


def by_metric(numbers: Iterable[int], lines: Iterable[Mapping[str, float]], key: str | None) -> list[int]:
    """Returns the checkpoints for which the metric `key` was logged, lowest value first."""
    metrics = {int(line["images_seen"]): line[key] for line in lines if key is not None and key in line}
    return sorted((number for number in numbers if number in metrics), key=metrics.__getitem__)


def select(folder: RunFolder, which: str | int, settings: Settings, warn: Callable[[str], None]) -> Checkpoint | None:
    """Returns an intact checkpoint, or None if the run has none yet.

    Args:
        folder: The run.
        which: "newest"; "best", by the metric of `keep_lowest`, else of `keep_highest`, else by the lowest FID or KID
            that was logged; or the images seen.
        settings: The settings of the run.
        warn: Is called with the reason for each damaged checkpoint that "newest" skips.

    Raises:
        UserError: There is no such checkpoint, or it is damaged.
    """
    if which == NEWEST:
        return newest(folder.checkpoints, warn)
    there = sorted(int(path.name) for path in numbered(folder.checkpoints))
    if which == BEST:
        return _checkpoint(folder, _best(folder, settings, there))
    if not str(which).isdecimal():
        hint = did_you_mean(str(which), (NEWEST, BEST))
        raise UserError(f"checkpoint: {which!r} is not allowed.{hint} Allowed: {NEWEST}, {BEST}, or the images seen")
    if int(which) not in there:
        allowed = f"{', '.join([NEWEST, BEST, *map(str, there)])} (images seen)"
        near = min(there, key=lambda number: abs(number - int(which)), default=None)
        hint = "" if near is None else f" The nearest one is {near}."
        raise UserError(f"checkpoint: {str(folder.root)!r} has none of {which} images seen.{hint} Allowed: {allowed}")
    return _checkpoint(folder, int(which))


def _best(folder: RunFolder, settings: Settings, there: list[int]) -> int:
    lowest, highest = settings.keep_lowest, settings.keep_highest
    if lowest is None and highest is None:
        lowest = _distance(folder)
    if lowest is None and highest is None:
        raise UserError(
            f"checkpoint: 'best' is not known of {str(folder.root)!r}, which kept no checkpoint by a metric. Train "
            "with --keep-lowest METRIC or --keep-highest METRIC, such as evaluation@2000/fid; or take 'newest'"
        )
    ranked = by_metric(there, folder.read_metrics(), lowest or highest)
    if not ranked:
        raise UserError(
            f"checkpoint: 'best' is not known of {str(folder.root)!r}: {lowest or highest} was logged at none of its "
            "checkpoints yet. Take 'newest'"
        )
    return ranked[0] if lowest else ranked[-1]


def _distance(folder: RunFolder) -> str | None:
    """Returns the name of the first of `_DISTANCES` that was logged."""
    logged = {name for line in folder.read_metrics() for name in line if name.startswith("evaluation@")}
    ranked = [(_DISTANCES.index(last), name) for name in logged if (last := name.rpartition("/")[2]) in _DISTANCES]
    return min(ranked)[1] if ranked else None


def _checkpoint(folder: RunFolder, images_seen: int) -> Checkpoint:
    return intact(folder.checkpoints / f"{images_seen:09d}")
