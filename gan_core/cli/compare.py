"""`gan_core compare`."""

import json
from pathlib import Path
from statistics import fmean, stdev
from typing import Annotated

import typer

from gan_core.errors import UserError


def compare(
    runs: Annotated[list[Path], typer.Argument(help="The folders of evaluated runs.")],
    *,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for programs.")] = False,
) -> None:
    """Compare evaluated runs: mean and spread over seeds, and differences that are larger than the spread.

    Runs that differ only in the seed form a group. Groups that share at least two seeds are compared seed by seed.
    """
    if len(runs) < 2:
        raise UserError("compare: only one run is given. Pass two or more")
    from gan_core.evaluation.compare import common_metrics, differences, group, read_runs, unreliable_metrics

    groups = group(read_runs(runs))
    found = differences(groups)
    if not as_json:
        from gan_core.cli.tables.comparison import print_comparison
        from gan_core.console import PlainConsole

        print_comparison(groups, found, PlainConsole(table=True))
        return
    described = {
        "protocol": next(iter(groups.values()))[0].protocol,
        "unreliable": sorted(unreliable_metrics(groups)),
        "groups": {
            name: {
                "runs": [str(run.folder) for run in members],
                "seeds": [run.settings["seed"] for run in members],
                "images_seen": [run.images_seen for run in members],
                "metrics": {
                    metric: {
                        "mean": fmean(run.metrics[metric] for run in members),
                        "spread": stdev(run.metrics[metric] for run in members) if len(members) > 1 else None,
                    }
                    for metric in common_metrics(members)
                },
            }
            for name, members in groups.items()
        },
        "differences": [
            {
                "groups": list(one.groups),
                "metric": one.metric,
                "difference": one.difference,
                "spread": one.spread,
                "seeds": list(one.seeds),
                "larger": one.larger,
            }
            for one in found
        ],
    }
    print(json.dumps(described, indent=2))
