"""`gan_core evaluate`."""

import json
from pathlib import Path
from typing import Annotated

import typer

from gan_core.cli.flags import with_flags
from gan_core.distributed.launcher import check_launcher
from gan_core.settings.evaluation import EvaluationSettings
from gan_core.settings.resolve import options_of, validated


@with_flags(EvaluationSettings)
def evaluate(
    given: dict[str, object],
    run: Annotated[Path, typer.Argument(help="The folder of a run.")],
    *,
    assignments: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="An option of the feature space, or a sampling option."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for programs.")] = False,
) -> None:
    """Evaluate a run's generator, and show below each metric the real images' own score (the floor).

    The result is written to the run's evaluation.json. It depends only on the run, the seed and the number of samples:
    launched with accelerate on several processes, as `train`, it is the same and takes less time.
    """
    settings, options = validated(EvaluationSettings, given), options_of(assignments or ())
    check_launcher()

    from gan_core.app.evaluating import evaluate_run
    from gan_core.cli.tables.metrics import print_metrics
    from gan_core.console import PlainConsole

    written = evaluate_run(run, settings, options, PlainConsole(stderr=True))
    if written is None:
        return
    if as_json:
        print(json.dumps(written, indent=2))
    else:
        print_metrics(written, PlainConsole(table=True))
