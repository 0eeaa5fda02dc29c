"""The commands, and how errors leave them."""

import os
import sys
from typing import Annotated

import typer

from gan_core.cli import check, plugins, sample, train
from gan_core.errors import UserError

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
    """Runs a command. What a user can mend leaves with exit code 2 and a message, without a traceback."""
    try:
        app()
    except UserError as error:
        if "--debug" in sys.argv:
            raise
        # One process speaks for all; accelerate prints a traceback of its own below, so the message is short.
        if os.environ.get("RANK", "0") == "0":
            print(f"error: {error}", file=sys.stderr, flush=True)
        sys.exit(2)
