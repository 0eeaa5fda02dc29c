"""The command-line application, and how it prints errors."""

import os
import sys
from collections.abc import Sequence
from itertools import pairwise
from typing import Annotated

import typer

from gan_core.cli import (
    bench,
    check,
    compare,
    data,
    env,
    evaluate,
    export,
    movie,
    plugins,
    recipes,
    report,
    runs,
    sample,
    train,
)
from gan_core.cli.flags import SectionedCommand
from gan_core.errors import TrainingError, UserError
from gan_core.garbage import collect_rarely

app = typer.Typer(
    name="gan_core",
    help="Train GANs on any hardware, from one CPU to many GPU machines. Every variant is a plugin.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
app.command("train", cls=SectionedCommand)(train.train)
app.command("sample")(sample.sample)
app.command("movie")(movie.movie)
app.command("evaluate", cls=SectionedCommand)(evaluate.evaluate)
app.command("compare")(compare.compare)
app.command("bench", cls=SectionedCommand)(bench.bench)
app.command("runs")(runs.runs)
app.command("report")(report.report)
app.command("export")(export.export)
app.command("list")(plugins.list_variants)
app.command("show")(plugins.show)
recipe_commands = typer.Typer(help=recipes.__doc__, invoke_without_command=True, rich_markup_mode=None)
recipe_commands.callback()(recipes.list_recipes)
recipe_commands.command("copy")(recipes.copy)
app.add_typer(recipe_commands, name="recipes")
app.command("check")(check.check)
app.command("new")(plugins.new)
app.command("env")(env.env)
app.add_typer(data.app, name="data")


@app.callback()
def options(
    context: typer.Context,
    *,
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of every error.")] = False,
) -> None:
    """Train GANs on any hardware, from one CPU to many GPU machines. Every variant is a plugin."""
    context.obj = debug


def main() -> None:
    """Runs a command, and prints errors without a traceback.

    The exit code is 2 for errors that the user can fix, 1 if training cannot continue, and 75 if it was interrupted and
    saved.
    """
    collect_rarely()
    try:
        _check_empty(sys.argv[1:])
        app()
    except (UserError, TrainingError) as error:
        if "--debug" in sys.argv:
            raise
        rank = os.environ.get("RANK", "0")
        if _reports(error, rank):
            from gan_core.console import print_error

            print_error(str(error), int(rank))  # Short, because accelerate prints a traceback of its own below.
        sys.exit(2 if isinstance(error, UserError) else 1)


def _check_empty(words: Sequence[str]) -> None:
    """Refuses an empty word, such as the value of a shell variable that is not set: as a path it is this folder.

    Raises:
        UserError: With the flag, if there is one.
    """
    for before, word in pairwise(["", *words]):
        flag, equals, value = word.partition("=")
        if not word or (word.startswith("--") and equals and not value):
            name = flag or (before if before.startswith("--") else "argument")
            raise UserError(f"{name}: '' is not allowed: it is empty. Give it a value, or leave it out")


def _reports(error: Exception, rank: str) -> bool:
    """Returns whether this process prints the error: rank 0 does, and one process per machine for user errors."""
    if isinstance(error, TrainingError) and error.reports is not None:
        return error.reports
    return rank == "0" or (isinstance(error, UserError) and os.environ.get("LOCAL_RANK", "0") == "0")
