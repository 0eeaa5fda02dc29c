"""`gan_core evaluate`."""

import json
from pathlib import Path
from typing import Annotated

import typer

from gan_core.distributed.launcher import check_launcher
from gan_core.settings.resolve import options_of


def evaluate(
    run: Annotated[Path, typer.Argument(help="The folder of a run.")],
    *,
    samples: Annotated[int | None, typer.Option(min=64, help="Images to draw (10000; 26000 of stacked-mnist).")] = None,
    features: Annotated[
        str, typer.Option(help="The feature space: classifier, inception, random, or one that a plugin offers.")
    ] = "classifier",
    seed: Annotated[int, typer.Option(min=0, max=2**63 - 1, help="Seed of the latents.")] = 0,
    data_dir: Annotated[Path | None, typer.Option(help="Where the data set is now, if it was moved.")] = None,
    small_fid: Annotated[bool, typer.Option("--small-fid", help="FID also on fewer than 2,000 samples.")] = False,
    gan_train: Annotated[
        bool, typer.Option("--gan-train", help="Also train a classifier on samples (conditional variants).")
    ] = False,
    assignments: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="An option of the feature space.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for programs.")] = False,
) -> None:
    """Say how good a run's generator is, and below each metric what real images score in its place.

    The result is in the run's evaluation.json. It depends on the run, the seed and the number of samples only: to
    have it sooner, start it with accelerate on several processes, as `train`.
    """
    options = options_of(assignments or ())
    check_launcher()

    from rich.console import Console

    from gan_core.app.evaluating import Request, evaluate_run
    from gan_core.cli.tables.metrics import print_metrics

    request = Request(
        run=run,
        samples=samples,
        seed=seed,
        features=features,
        options=options,
        data_dir=data_dir,
        small_fid=small_fid,
        gan_train=gan_train,
    )
    written = evaluate_run(request, Console(stderr=True))
    if written is None:
        return
    if as_json:
        print(json.dumps(written, indent=2))
    else:
        print_metrics(written, Console())
