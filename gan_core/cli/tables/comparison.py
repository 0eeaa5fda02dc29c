"""The tables of a comparison: groups of runs side by side, and the differences between each pair of groups."""

from collections.abc import Sequence
from statistics import fmean, stdev

from rich.console import Console
from rich.table import Table

from gan_core.evaluation.compare import Difference, Groups, common_metrics, unreliable_metrics
from gan_core.evaluation.titles import TITLES


def print_comparison(groups: Groups, found: Sequence[Difference], console: Console) -> None:
    """Prints a table with a column per group and a row per metric, then a table of differences per pair of groups."""
    protocol = next(iter(groups.values()))[0].protocol
    space = f"{protocol['features']} {(protocol['features_hash'] or '')[:8]}"
    console.print(
        f"{protocol['dataset']}, protocol {protocol['name']}, {protocol['samples']:,} samples, {space}", soft_wrap=True
    )
    doubtful = unreliable_metrics(groups)
    titles = {name: f"{title} (unreliable)" if name in doubtful else title for name, title in TITLES.items()}
    table = _table("metric", *groups)
    table.add_row("seeds", *(_counted(len(members), "seed") for members in groups.values()))
    table.add_row("kimg", *(_range([run.images_seen / 1000 for run in members]) for members in groups.values()))
    for name in common_metrics([run for members in groups.values() for run in members]):
        table.add_row(
            titles.get(name, name),
            *(_mean_and_spread([run.metrics[name] for run in members]) for members in groups.values()),
        )
    console.print(table)
    for first, second in dict.fromkeys(difference.groups for difference in found):
        of_pair = [difference for difference in found if difference.groups == (first, second)]
        console.print(f"\n{first} minus {second}, {_pairing(of_pair[0])}", soft_wrap=True)
        table = _table("metric", "difference", "spread", "")
        for each in of_pair:
            spread = "unknown" if each.spread is None else f"{each.spread:.3g}"
            verdict = "larger than the spread" if each.larger else ""
            table.add_row(titles.get(each.metric, each.metric), f"{each.difference:+.4g}", spread, verdict)
        console.print(table)


def _table(*columns: str) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for column in columns:
        table.add_column(column, overflow="fold")
    return table


def _pairing(difference: Difference) -> str:
    if difference.seeds:
        return f"paired by {_counted(len(difference.seeds), 'seed')}"
    return "a group has one seed, so the spread is unknown" if difference.spread is None else "not paired"


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"


def _range(values: list[float]) -> str:
    return f"{min(values):g}" if min(values) == max(values) else f"{min(values):g} to {max(values):g}"


def _mean_and_spread(values: list[float]) -> str:
    return f"{fmean(values):.4g}" + (f" ± {stdev(values):.2g}" if len(values) > 1 else "")
