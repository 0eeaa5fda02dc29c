"""Which checkpoints stay: the newest, one for every so many images, and the best by a logged metric."""

import shutil
from collections.abc import Iterable, Mapping, Sequence

from gan_core.runs.checkpoint import numbered
from gan_core.runs.folder import RunFolder
from gan_core.settings.settings import Settings


def prune(folder: RunFolder, settings: Settings, images_seen: int) -> None:
    """Removes what need not stay, now that the checkpoint at `images_seen` is whole."""
    paths = {int(path.name): path for path in numbered(folder.checkpoints)}
    # Whatever has a higher number was passed over as damaged: this run has not come so far yet.
    whole = sorted(number for number in paths if number <= images_seen)
    lines = folder.read_metrics() if settings.keep_lowest or settings.keep_highest else []
    lowest = _by_metric(whole, lines, settings.keep_lowest)[:1]
    highest = _by_metric(whole, lines, settings.keep_highest)[-1:]
    stay = {*whole[-settings.keep_checkpoints :], *_milestones(whole, settings.keep_every), *lowest, *highest}
    for number, path in paths.items():
        if number not in stay:
            shutil.rmtree(path)


def _milestones(whole: Sequence[int], kimg: float | None) -> Iterable[int]:
    """Returns the first checkpoint at or after each multiple of so many thousand images."""
    if kimg is None:
        return []
    every = kimg * 1000
    first: dict[int, int] = {}
    for number in whole:
        first.setdefault(int(number // every), number)
    return [number for multiple, number in first.items() if multiple > 0]


def _by_metric(whole: Sequence[int], lines: Iterable[Mapping[str, float]], key: str | None) -> Sequence[int]:
    """Returns the checkpoints for which that metric was logged, those with the lowest first."""
    metrics = {int(line["images_seen"]): line[key] for line in lines if key is not None and key in line}
    return sorted((number for number in whole if number in metrics), key=metrics.__getitem__)
