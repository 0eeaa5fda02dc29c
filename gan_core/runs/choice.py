"""Which checkpoint of a run is meant: the newest, the best by a logged metric, or one by its number of images."""

from collections.abc import Callable, Mapping
from typing import Any

from gan_core.errors import UserError
from gan_core.runs.checkpoint import Checkpoint, intact, newest, numbered
from gan_core.runs.folder import RunFolder
from gan_core.runs.retention import by_metric

_BEST = ("fid", "fid50k", "kid", "kid50k")
"""Metrics by which a checkpoint is the best where the run's settings keep none: the first that was logged."""


def chosen(folder: RunFolder, which: str, config: Mapping[str, Any], warn: Callable[[str], None]) -> Checkpoint | None:
    """Returns an intact checkpoint of a run; None if it has no intact one yet.

    Args:
        folder: The run's folder.
        which: "newest"; "best", the lowest or highest value of the metric that the run's settings keep (`keep_lowest`,
            `keep_highest`), or without one the lowest FID, else KID, that was logged; or thousands of images, as "400".
        config: The run's settings.
        warn: Called with the reason for each checkpoint that is skipped while the newest is looked for.

    Raises:
        UserError: There is no such checkpoint, or it is damaged; the message names those that there are.
    """
    if which == "newest":
        return newest(folder.checkpoints, warn)
    there = {int(path.name): path for path in numbered(folder.checkpoints)}
    names = ", ".join(f"{seen / 1000:g}" for seen in sorted(there)) or "none"
    if which == "best":
        key, highest = _metric(folder, config)
        ranked = by_metric(sorted(there), folder.read_metrics(), key)
        if not ranked:
            raise UserError(
                f"checkpoint: 'best' is not known: no checkpoint of {str(folder.root)!r} has a logged "
                f"{key or 'FID or KID'}. Train with --evaluate-every, or use newest or one of: {names} (kimg)"
            )
        return intact(there[ranked[-1 if highest else 0]])
    try:
        seen = round(float(which) * 1000)
    except (ValueError, OverflowError):
        raise UserError(f"checkpoint: {which!r} is not allowed. Use newest, best, or one of: {names} (kimg)") from None
    if seen not in there:
        raise UserError(f"checkpoint: {str(folder.root)!r} has none at {which} kimg. Allowed: newest, best, {names}")
    return intact(there[seen])


def _metric(folder: RunFolder, config: Mapping[str, Any]) -> tuple[str | None, bool]:
    """Returns the name of the metric that says which checkpoint is best, and whether higher is better."""
    for key in ("keep_lowest", "keep_highest"):
        if isinstance(config.get(key), str):
            return config[key], key == "keep_highest"
    logged = {name for line in folder.read_metrics() for name in line if name.startswith("evaluation@")}
    ranked = [(_BEST.index(short), name) for name in logged if (short := name.rpartition("/")[2]) in _BEST]
    return (min(ranked)[1] if ranked else None), False
