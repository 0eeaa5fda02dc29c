"""`gan_core bench`."""

import json
from pathlib import Path
from typing import Annotated

import typer

from gan_core.cli.flags import with_flags
from gan_core.distributed.launcher import started_processes
from gan_core.distributed.waiting import share_cores
from gan_core.errors import UserError, did_you_mean
from gan_core.settings.resolve import resolve
from gan_core.settings.settings import Settings

AGAINST = ("plain", "tensor")
OF_A_MACHINE = ("data_dir",)
"""The settings that the suite takes."""


@with_flags(Settings)
def bench(
    given: dict[str, object],
    *,
    config: Annotated[
        Path | None, typer.Option(metavar="FILE", help="A YAML file of settings; flags and --set override it.")
    ] = None,
    assignments: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="An option of the variant; `gan_core show NAME` lists them."),
    ] = None,
    rounds: Annotated[int, typer.Option(min=1, help="How often each rate is measured.")] = 5,
    seconds: Annotated[
        float, typer.Option(min=0.01, help="About how long a window of steps takes; a process measures two.")
    ] = 3.0,
    against: Annotated[
        list[str] | None,
        typer.Option(
            metavar="LOOP",
            help="Also measure the plainest loop for the same game: plain has a DataLoader, tensor takes its images "
            "from a tensor.",
        ),
    ] = None,
    processes: Annotated[
        int, typer.Option(min=1, help="Also compare this many processes with one, on the same cores.")
    ] = 1,
    suite: Annotated[bool, typer.Option("--suite", help="Measure the README's table of speeds.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for programs.")] = False,
) -> None:
    """Measure the speed of training: its rate, the parts of a step, start-up, and the share of the machine's peak.

    Settings are those of `train`. Each rate is measured in processes of its own, which take turns; nothing is written
    but to temporary folders.
    """
    for name in against or ():
        if name not in AGAINST:
            raise UserError(
                f"against: {name!r} is not allowed.{did_you_mean(name, AGAINST)} Allowed: {', '.join(AGAINST)}"
            )
    if started_processes() > 1:
        raise UserError("bench starts its processes itself: run python -m gan_core bench --processes N")
    chosen = [*(["config"] if config else []), *(["set"] if assignments else []), *given]
    chosen += [name for name, changed in (("against", against), ("processes", processes > 1)) if changed]
    if suite and (other := [key for key in chosen if key not in OF_A_MACHINE]):
        raise UserError(f"suite: {other[0]} is not allowed with --suite, which has its own; only --data-dir is")
    resolved = None if suite else resolve(given, assignments or (), config)
    share_cores(None if resolved is None else resolved.settings.threads)

    from gan_core.app.job import check_job, make_job
    from gan_core.bench.measure import bench as measure
    from gan_core.bench.suite import suite as measure_suite
    from gan_core.cli.tables.bench import print_bench, print_suite
    from gan_core.console import PlainConsole

    with PlainConsole(stderr=True).status("") as status:  # Only on a terminal.
        if resolved is None:
            rows = measure_suite(given, rounds=rounds, seconds=seconds, told=status.update)
        else:
            job = make_job(resolved)
            check_job(job, processes, ())
            result = measure(
                job,
                rounds=rounds,
                seconds=seconds,
                against=list(dict.fromkeys(against or ())),
                processes=processes,
                told=status.update,
            )
    if as_json:
        print(json.dumps(rows if resolved is None else result, indent=2))
    elif resolved is None:
        print_suite(rows, PlainConsole(table=True))
    else:
        print_bench(result, PlainConsole(table=True))
