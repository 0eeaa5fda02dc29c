"""Comparing evaluated runs: those that differ in nothing but the seed are one group, with a mean and a spread.

The spread is the sample standard deviation over seeds. Where two groups share seeds, differences are taken seed by
seed, and the spread is theirs; else it is that of the difference of two independent runs. A difference larger than its
spread is worth a look; with few seeds it is no proof.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

from gan_core.errors import UserError
from gan_core.evaluation.record import read_evaluation
from gan_core.runs.folder import RunFolder
from gan_core.settings.flatten import dotted
from gan_core.settings.settings import FREE

_PROTOCOL = ("dataset", "image_size", "channels", "data", "samples", "compared", "features", "features_hash", "k")


@dataclass(frozen=True, kw_only=True, slots=True)
class EvaluatedRun:
    """A run's settings, what it was judged by, and its metrics that are one number, by name."""

    folder: Path
    settings: dict[str, Any]
    protocol: dict[str, Any]
    images_seen: int
    metrics: dict[str, float]


@dataclass(frozen=True, kw_only=True, slots=True)
class Difference:
    """One metric of two groups.

    Attributes:
        groups: Their names; the difference is that of the first less the second.
        metric: The metric's name.
        difference: Between the means; where `seeds` are shared, the mean difference on these.
        spread: Its standard deviation from seed to seed, or None where there is one seed only.
        seeds: The seeds by which the runs are paired, none where fewer than two are shared.
    """

    groups: tuple[str, str]
    metric: str
    difference: float
    spread: float | None
    seeds: tuple[int, ...]

    @property
    def larger(self) -> bool:
        """Whether the difference is larger than its spread."""
        return self.spread is not None and abs(self.difference) > self.spread


Groups = dict[str, list[EvaluatedRun]]


def read_runs(folders: Sequence[Path]) -> list[EvaluatedRun]:
    """Reads runs and checks that their metrics can be compared.

    Raises:
        UserError: A folder is no run or was not evaluated, one is named twice, or the metrics are of different
            protocols; the message names what differs.
    """
    runs = [_read(folder) for folder in folders]
    if len({run.folder.resolve() for run in runs}) < len(runs):
        raise UserError("a run is named twice")
    first = runs[0]
    for run in runs[1:]:
        differ = [key for key in _PROTOCOL if run.protocol.get(key) != first.protocol.get(key)]
        if differ:
            rows = "\n".join(f"  {key}: {first.protocol.get(key)!r} and {run.protocol.get(key)!r}" for key in differ)
            raise UserError(
                f"{str(first.folder)!r} and {str(run.folder)!r} were judged differently, so their metrics cannot be "
                f"compared:\n{rows}\nEvaluate one of them again, as the other was"
            )
    return runs


def group(runs: Sequence[EvaluatedRun]) -> Groups:
    """Puts runs together that differ in the seed only, named by their variant and by what tells its groups apart.

    Raises:
        UserError: Two runs of one group have the same seed.
    """
    by_variant: Groups = {}
    for run in runs:
        by_variant.setdefault(str(run.settings["variant"]), []).append(run)
    telling = {variant: _telling(members) for variant, members in by_variant.items()}
    groups: Groups = {}
    for run in runs:
        variant = str(run.settings["variant"])
        name = " ".join([variant, *(f"{key}={run.settings.get(key)}" for key in telling[variant])])
        groups.setdefault(name, []).append(run)
    for name, members in groups.items():
        seeds = [run.settings["seed"] for run in members]
        if len(set(seeds)) < len(seeds):
            twice = next(seed for seed in seeds if seeds.count(seed) > 1)
            raise UserError(
                f"two runs of {name!r} have the seed {twice}: the same run twice says nothing of the spread"
            )
    return groups


def _telling(runs: Sequence[EvaluatedRun]) -> list[str]:
    """Returns the settings, but for the seed and what changes no result, in which the runs are not all alike."""
    keys = sorted({key for run in runs for key in run.settings} - FREE - {"seed"})
    return [key for key in keys if len({repr(run.settings.get(key)) for run in runs}) > 1]


def differences(groups: Groups) -> list[Difference]:
    """Compares every two groups in every metric that all their runs have."""
    found = []
    for (one, ours), (other, theirs) in combinations(groups.items(), 2):
        mine, yours = ({run.settings["seed"]: run.metrics for run in runs} for runs in (ours, theirs))
        shared = tuple(sorted(mine.keys() & yours.keys()))
        paired = shared if len(shared) > 1 else ()
        for metric in common_metrics([*ours, *theirs]):
            spread: float | None
            if paired:
                by_seed = [mine[seed][metric] - yours[seed][metric] for seed in paired]
                difference, spread = fmean(by_seed), stdev(by_seed)
            else:
                values = [[run[metric] for run in runs.values()] for runs in (mine, yours)]
                difference = fmean(values[0]) - fmean(values[1])
                known = all(len(of_group) > 1 for of_group in values)
                spread = sum(stdev(of_group) ** 2 for of_group in values) ** 0.5 if known else None
            found.append(
                Difference(groups=(one, other), metric=metric, difference=difference, spread=spread, seeds=paired)
            )
    return found


def common_metrics(runs: Sequence[EvaluatedRun]) -> list[str]:
    """Returns the metrics that all of these runs have, in the order of the first."""
    return [name for name in runs[0].metrics if all(name in run.metrics for run in runs)]


def _read(path: Path) -> EvaluatedRun:
    folder = RunFolder(path)
    settings, written = folder.read_config(), read_evaluation(folder)
    metrics = {
        name: float(metric["value"])
        for name, metric in written["metrics"].items()
        if isinstance(metric.get("value"), int | float)
    }
    return EvaluatedRun(
        folder=path,
        settings=dotted(settings),
        protocol=written["protocol"],
        images_seen=int(written["images_seen"]),
        metrics=metrics,
    )
