"""The commands, and how errors leave them."""

import os
import sys
from typing import Annotated

import typer

from gan_core.cli import check, compare, evaluate, plugins, sample, train
from gan_core.errors import NotFiniteError, UserError

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
app.command("list")(plugins.list_variants)
app.command("show")(plugins.show)
app.command("check")(check.check)
app.command("new")(plugins.new)


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

    The exit code is 2 for what the user can mend, and 1 for a training that diverged.
    """
    try:
        app()
    except (UserError, NotFiniteError) as error:
        if "--debug" in sys.argv:
            raise
        # One process of each machine speaks; all see the same NaN, but each may have troubles of its own.
        rank, local = os.environ.get("RANK", "0"), os.environ.get("LOCAL_RANK", "0")
        if rank == "0" or (local == "0" and isinstance(error, UserError)):
            where = "" if rank == "0" else f" (process {rank})"
            # accelerate prints a traceback of its own below, so the message is short.
            print(f"error{where}: {error}", file=sys.stderr, flush=True)
        sys.exit(2 if isinstance(error, UserError) else 1)
