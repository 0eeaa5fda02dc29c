"""Which checkpoints are kept: the newest, one every N images, and the best by a logged metric."""

import shutil
from collections.abc import Iterable, Mapping, Sequence

from gan_core.console import warn
from gan_core.runs.checkpoint import numbered
from gan_core.runs.folder import RunFolder
from gan_core.settings.settings import Settings


def prune(folder: RunFolder, settings: Settings, images_seen: int) -> None:
    """Removes checkpoints that need not be kept, after the one at `images_seen` was written.

    None with a higher number is removed: this run has not written it.
    """
    paths = {int(path.name): path for path in numbered(folder.checkpoints) if int(path.name) <= images_seen}
    intact = sorted(paths)
    lines = folder.read_metrics() if settings.keep_lowest or settings.keep_highest else []
    lowest = by_metric(intact, lines, settings.keep_lowest)[:1]
    highest = by_metric(intact, lines, settings.keep_highest)[-1:]
    kept = {*intact[-settings.keep_checkpoints :], *_milestones(intact, settings.keep_every), *lowest, *highest}
    for number, path in paths.items():
        if number not in kept and path.is_dir():
            try:
                shutil.rmtree(path)
            except OSError as error:  # It is no reason to end a run.
                warn(f"the old checkpoint {path} could not be removed: {error}")


def _milestones(intact: Sequence[int], kimg: float | None) -> Iterable[int]:
    """Returns the first checkpoint at or after each multiple of `kimg` thousand images."""
    if kimg is None:
        return []
    every = kimg * 1000
    first: dict[int, int] = {}
    for number in intact:
        first.setdefault(int(number // every), number)
    return [number for multiple, number in first.items() if multiple > 0]


def by_metric(intact: Sequence[int], lines: Iterable[Mapping[str, float]], key: str | None) -> Sequence[int]:
    """Returns the checkpoints for which the metric `key` was logged, lowest value first."""
    metrics = {int(line["images_seen"]): line[key] for line in lines if key is not None and key in line}
    return sorted((number for number in intact if number in metrics), key=metrics.__getitem__)
