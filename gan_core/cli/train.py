"""`gan_core train`."""

from pathlib import Path
from typing import Annotated

import typer

from gan_core.cli.flags import with_flags
from gan_core.distributed.launcher import check_launcher
from gan_core.distributed.waiting import share_cores
from gan_core.settings.resolve import resolve
from gan_core.settings.settings import Settings


@with_flags(Settings)
def train(
    given: dict[str, object],
    *,
    config: Annotated[
        Path | None,
        typer.Option(metavar="FILE|NAME", help="A YAML file of settings, or a recipe; flags and --set override it."),
    ] = None,
    assignments: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="An option of the variant; `gan_core show NAME` lists them."),
    ] = None,
    allow_change: Annotated[
        list[str] | None, typer.Option(metavar="KEY", help="Let a resumed run differ in this setting.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the settings and the plan, and exit.")] = False,
    print_config: Annotated[
        bool,
        typer.Option(
            "--print-config",
            help="Print a YAML file of all settings and of the variant's options, each explained, and exit.",
        ),
    ] = False,
) -> None:
    """Train a GAN, or resume a run: the same command resumes it exactly.

    Settings come from defaults, then --config, then flags and --set. For several processes or machines, launch it with
    accelerate: accelerate launch --config_file launch/cpu-2.yaml -m gan_core train --variant dcgan --kimg 100
    """
    resolved = resolve(given, assignments or (), config)
    if print_config:
        from gan_core.app.job import as_config, with_variant
        from gan_core.settings.commented import commented_config

        loaded, resolved, options = with_variant(resolved)
        print(commented_config(as_config(resolved.settings, options), loaded.variant.options), end="")
        return
    check_launcher()
    share_cores(resolved.settings.threads)

    from gan_core.app.job import make_job
    from gan_core.console import PlainConsole

    job = make_job(resolved)
    console = PlainConsole()
    from gan_core.cli.tables.plan import print_plan, show_dry_run

    if dry_run:
        show_dry_run(job, allow_change or (), console)
        return

    from gan_core.app.training import start

    if start(job, allow_change or (), console, print_plan) == "interrupted":
        raise typer.Exit(75)  # EX_TEMPFAIL of sysexits.h, "try again": 0 would mean that the run is finished.
