"""The commands, and how errors leave them."""

import os
import sys
from typing import Annotated

import typer

from gan_core.cli import check, compare, env, evaluate, plugins, runs, sample, train
from gan_core.errors import LostProcessError, TrainingError, UserError

app = typer.Typer(
    name="gan_core",
    help="Train GANs on whatever hardware there is. Every variant is a plugin.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
app.command("train")(train.train)
app.command("sample")(sample.sample)
app.command("evaluate")(evaluate.evaluate)
app.command("compare")(compare.compare)
app.command("runs")(runs.runs)
app.command("list")(plugins.list_variants)
app.command("show")(plugins.show)
app.command("check")(check.check)
app.command("new")(plugins.new)
app.command("env")(env.env)


@app.callback()
def options(
    context: typer.Context,
    *,
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of every error.")] = False,
) -> None:
    """Train GANs on whatever hardware there is. Every variant is a plugin."""
    context.obj = debug


def main() -> None:
    """Runs a command. Errors leave with a message and without a traceback.

    The exit code is 2 for what the user can mend, 1 for a training that could not go on, and 75 for one that was
    interrupted and saved.
    """
    try:
        app()
    except (UserError, TrainingError) as error:
        if "--debug" in sys.argv:
            raise
        rank = os.environ.get("RANK", "0")
        if _speaks(error, rank):
            where = "" if rank == "0" else f" (process {rank})"
            # accelerate prints a traceback of its own below, so the message is short.
            print(f"error{where}: {error}", file=sys.stderr, flush=True)
        sys.exit(2 if isinstance(error, UserError) else 1)


def _speaks(error: Exception, rank: str) -> bool:
    """All processes see the same NaN, and one tells of it; but each machine may have troubles of its own."""
    if isinstance(error, LostProcessError):
        return error.speaks
    return rank == "0" or (isinstance(error, UserError) and os.environ.get("LOCAL_RANK", "0") == "0")
