"""`gan_core train`."""

from pathlib import Path
from typing import Annotated

import typer

from gan_core.distributed.launcher import check_launcher
from gan_core.settings.resolve import resolve


def train(
    *,
    variant: Annotated[str | None, typer.Option(help="The GAN to train; see `gan_core list`.")] = None,
    dataset: Annotated[
        str | None,
        typer.Option(
            help="digits (default), mnist, fashion-mnist, kmnist, usps, cifar10, stacked-mnist or folder:PATH."
        ),
    ] = None,
    data_dir: Annotated[Path | None, typer.Option(help="A torchvision root that has the files already.")] = None,
    image_size: Annotated[int | None, typer.Option(help="Resize images to this many pixels a side.")] = None,
    channels: Annotated[int | None, typer.Option(help="Convert images to grey (1) or RGB (3).")] = None,
    config: Annotated[Path | None, typer.Option(help="A YAML file of settings; flags and --set go over it.")] = None,
    kimg: Annotated[float | None, typer.Option(help="Length in thousands of real images shown (500).")] = None,
    epochs: Annotated[float | None, typer.Option(help="Length in passes over the data set.")] = None,
    steps: Annotated[int | None, typer.Option(help="Length in rounds of the game.")] = None,
    batch: Annotated[int | None, typer.Option(help="Images in a batch, over all processes (64).")] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of every random number (0).")] = None,
    out: Annotated[Path | None, typer.Option(help="The run's folder (runs/<variant>-<dataset>).")] = None,
    sample_every: Annotated[
        float | None, typer.Option(metavar="KIMG", help="Draw a grid of samples (20 times in a run).")
    ] = None,
    evaluate_every: Annotated[
        float | None, typer.Option(metavar="KIMG", help="Judge the generator by 2,000 samples (never).")
    ] = None,
    checkpoint_every: Annotated[
        float | None, typer.Option(metavar="KIMG", help="Write a checkpoint (20 times in a run).")
    ] = None,
    precision: Annotated[str | None, typer.Option(help="fp32 (default), bf16, fp16 or fp64.")] = None,
    on_nan: Annotated[
        str | None, typer.Option(metavar="stop|skip", help="Stop at the first NaN (default), or skip such turns.")
    ] = None,
    track: Annotated[str | None, typer.Option(help="Also log to wandb or tensorboard.")] = None,
    resume: Annotated[str | None, typer.Option(help="auto (default), never or must.")] = None,
    allow_change: Annotated[
        list[str] | None, typer.Option(metavar="KEY", help="Let a resumed run differ in this setting.")
    ] = None,
    assignments: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Any setting, or an option of the variant (`gan_core show`)."),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the settings and the plan, and leave.")] = False,
) -> None:
    """Train a GAN, or go on with a run: the same command again resumes it exactly.

    Settings come from defaults, then --config, then flags and --set. To use several processes or machines, start it
    with accelerate: accelerate launch --config_file launch/cpu-2.yaml -m gan_core train --variant dcgan --kimg 100
    """
    flags: dict[str, object] = {
        "variant": variant,
        "dataset": dataset,
        "data_dir": data_dir,
        "image_size": image_size,
        "channels": channels,
        "kimg": kimg,
        "epochs": epochs,
        "steps": steps,
        "batch": batch,
        "seed": seed,
        "out": out,
        "sample_every": sample_every,
        "evaluate_every": evaluate_every,
        "checkpoint_every": checkpoint_every,
        "precision": precision,
        "on_nan": on_nan,
        "track": track,
        "resume": resume,
    }
    resolved = resolve(flags, assignments or (), config)
    settings = resolved.settings
    check_launcher()

    from gan_core.plugins.load import load_variant

    loaded = load_variant(settings.variant)
    options = resolved.options_as(loaded.variant.options)

    from rich.console import Console

    from gan_core.app.job import Job
    from gan_core.data.catalog import open_dataset

    dataset_found = open_dataset(
        settings.dataset, data_dir=settings.data_dir, image_size=settings.image_size, channels=settings.channels
    )
    job = Job(settings=settings, loaded=loaded, options=options, dataset=dataset_found)
    console = Console()
    from gan_core.cli.tables.plan import print_plan, show_dry_run

    if dry_run:
        show_dry_run(job, allow_change or (), console)
        return

    from gan_core.app.training import start

    if start(job, allow_change or (), console, print_plan) == "interrupted":
        raise typer.Exit(75)  # EX_TEMPFAIL of sysexits.h, "try again": with 0, schedulers would take it for finished.
