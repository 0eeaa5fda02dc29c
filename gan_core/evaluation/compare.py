"""Comparison of evaluated runs. Runs that differ only in the seed form a group, which has a mean and a spread.

The spread is the sample standard deviation over seeds. If two groups share at least two seeds, differences are paired
by seed and the spread is that of the paired differences. Otherwise it is the spread of the difference between two
independent runs. A difference larger than its spread deserves attention, but with few seeds it proves nothing.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

from gan_core.errors import UserError
from gan_core.evaluation.protocol import STANDARD
from gan_core.evaluation.record import read_evaluation
from gan_core.runs.folder import RunFolder
from gan_core.settings.flatten import dotted
from gan_core.settings.settings import FREE

_PROTOCOL = (
    *("name", "dataset", "image_size", "channels", "data", "samples", "compared"),
    *("features", "features_hash", "k", "output", "sampling"),
)
_EARLIER = {"name": STANDARD, "output": "images", "sampling": {}}
"""What files of earlier versions do not say."""


@dataclass(frozen=True, kw_only=True, slots=True)
class EvaluatedRun:
    """A run's settings, the protocol of its evaluation, its scalar metrics, and the names of unreliable ones."""

    folder: Path
    settings: dict[str, Any]
    protocol: dict[str, Any]
    images_seen: int
    metrics: dict[str, float]
    unreliable: frozenset[str]


@dataclass(frozen=True, kw_only=True, slots=True)
class Difference:
    """One metric of two groups.

    Attributes:
        groups: The names of the two groups.
        metric: The metric's name.
        difference: The first group's mean minus the second's. If the runs are paired, the mean over `seeds` of the
            paired differences.
        spread: The standard deviation of the difference over seeds, or None if a group has only one seed.
        seeds: The seeds by which the runs are paired; empty if the groups share fewer than two.
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
        UserError: A folder is not a run or has not been evaluated, a run is given twice, or the protocols differ. The
            message names the differences.
    """
    runs = [_read(folder) for folder in folders]
    if len({run.folder.resolve() for run in runs}) < len(runs):
        raise UserError("compare: a run is given twice. Pass each run once")
    first = runs[0]
    for run in runs[1:]:
        differ = [key for key in _PROTOCOL if run.protocol.get(key) != first.protocol.get(key)]
        if differ:
            rows = "\n".join(f"  {key}: {first.protocol.get(key)!r} and {run.protocol.get(key)!r}" for key in differ)
            raise UserError(
                f"{str(first.folder)!r} and {str(run.folder)!r} were evaluated with different protocols, so their "
                f"metrics cannot be compared:\n{rows}\nEvaluate one of them again with the other's protocol"
            )
    return runs


def group(runs: Sequence[EvaluatedRun]) -> Groups:
    """Groups runs that differ only in the seed. A name is the variant and the settings in which its groups differ.

    Raises:
        UserError: Two runs of one group have the same seed.
    """
    by_variant: Groups = {}
    for run in runs:
        by_variant.setdefault(str(run.settings["variant"]), []).append(run)
    differing = {variant: _differing_settings(members) for variant, members in by_variant.items()}
    groups: Groups = {}
    for run in runs:
        variant = str(run.settings["variant"])
        name = " ".join([variant, *(f"{key}={run.settings.get(key)}" for key in differing[variant])])
        groups.setdefault(name, []).append(run)
    for name, members in groups.items():
        seeds = [run.settings["seed"] for run in members]
        if len(set(seeds)) < len(seeds):
            twice = next(seed for seed in seeds if seeds.count(seed) > 1)
            raise UserError(
                f"compare: two runs of {name!r} have seed {twice}, but the spread is taken over different seeds. Pass "
                "one run for each seed"
            )
    return groups


def _differing_settings(runs: Sequence[EvaluatedRun]) -> list[str]:
    """Returns the settings in which the runs differ, except the seed and settings that do not affect results."""
    keys = sorted({key for run in runs for key in run.settings} - FREE - {"seed"})
    return [key for key in keys if len({repr(run.settings.get(key)) for run in runs}) > 1]


def differences(groups: Groups) -> list[Difference]:
    """Compares every pair of groups in every metric that all runs of the pair have."""
    found = []
    for (first_name, first_runs), (second_name, second_runs) in combinations(groups.items(), 2):
        first, second = ({run.settings["seed"]: run.metrics for run in runs} for runs in (first_runs, second_runs))
        shared = tuple(sorted(first.keys() & second.keys()))
        paired = shared if len(shared) > 1 else ()
        for metric in common_metrics([*first_runs, *second_runs]):
            spread: float | None
            if paired:
                by_seed = [first[seed][metric] - second[seed][metric] for seed in paired]
                difference, spread = fmean(by_seed), stdev(by_seed)
            else:
                values = [[metrics[metric] for metrics in runs.values()] for runs in (first, second)]
                difference = fmean(values[0]) - fmean(values[1])
                has_spread = all(len(of_group) > 1 for of_group in values)
                spread = sum(stdev(of_group) ** 2 for of_group in values) ** 0.5 if has_spread else None
            found.append(
                Difference(
                    groups=(first_name, second_name),
                    metric=metric,
                    difference=difference,
                    spread=spread,
                    seeds=paired,
                )
            )
    return found


def common_metrics(runs: Sequence[EvaluatedRun]) -> list[str]:
    """Returns the names of the metrics that all these runs have, in the order of the first run."""
    return [name for name in runs[0].metrics if all(name in run.metrics for run in runs)]


def unreliable_metrics(groups: Groups) -> set[str]:
    """Returns the names of the metrics that are unreliable in any run."""
    return {name for members in groups.values() for run in members for name in run.unreliable}


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
        protocol=_EARLIER | written["protocol"],
        images_seen=int(written["images_seen"]),
        metrics=metrics,
        unreliable=frozenset(name for name in metrics if written["metrics"][name].get("unreliable")),
    )
