"""`gan_core report`."""

from pathlib import Path
from typing import Annotated

import typer

from gan_core.errors import UserError


def report(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN...", help="The folders of runs.")],
    *,
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", help="The page; without it RUN/report.html (of one run).")
    ] = None,
) -> None:
    """Write a page of HTML on runs: samples, curves, evaluation, settings. Needs pip install gan-core[report].

    The page is one file that opens from disk and needs no network. Parts that cannot be read are named in it.
    """
    if out is None and len(runs) > 1:
        raise UserError("out: missing. Name the page of several runs with --out FILE")
    path = out or runs[0] / "report.html"
    if path.suffix.lower() != ".html":
        raise UserError(f"out: {str(path)!r} is not allowed. Use FILE.html")
    from gan_core.report.render import check_installed, render

    check_installed()
    from gan_core.console import PlainConsole, warn
    from gan_core.report.pictures import interpolation
    from gan_core.report.read import read_run
    from gan_core.runs.atomic import write_atomically

    read = [read_run(run, interpolation) for run in runs]
    for problem in (problem for run in read for problem in run.problems):
        warn(problem)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, render(read))
    except OSError as error:
        raise UserError(f"out: {str(path)!r} cannot be written: {error}") from error
    PlainConsole().print(str(path), soft_wrap=True)
