"""Printing what comes from outside: paths, names and summaries are data, never markup and never terminal commands."""

import os
import sys
import unicodedata
from contextlib import suppress
from typing import Any

from rich.console import Console
from rich.text import Text

PIPE_WIDTH = 240
"""The width of tables where the output is no terminal, and so has no width."""


def printable(text: str) -> str:
    r"""Returns text with its control characters escaped, such as \x1b; new lines and tabs stay."""
    return "".join(_escaped(character) for character in text) if any(map(_is_control, text)) else text


def say(text: str) -> None:
    """Prints a message to stderr; where nothing can be printed any more, prints nothing."""
    with suppress(OSError):
        print(printable(text), file=sys.stderr, flush=True)


def warn(text: str) -> None:
    """Prints a warning to stderr."""
    say(f"warning: {text}")


def print_error(text: str, rank: int) -> None:
    """Prints an error to stderr, with the process if it is not the main one."""
    where = "" if rank == 0 else f" (process {rank})"
    say(f"error{where}: {text}")


def _is_control(character: str) -> bool:
    # Cc: control characters; Cf: such as those that reverse the direction of text; Cs: undecodable bytes of a path.
    return character not in "\n\t" and unicodedata.category(character) in ("Cc", "Cf", "Cs", "Zl", "Zp")


def _escaped(character: str) -> str:
    return repr(character)[1:-1] if _is_control(character) else character


class PlainConsole(Console):
    """A console of rich that reads no markup and no emoji codes in text, and escapes control characters."""

    def __init__(self, *, table: bool = False, stderr: bool = False, quiet: bool = False) -> None:
        """Opens a console on stdout, or on `stderr`; with `table`, wide where it is no terminal."""
        width = PIPE_WIDTH if table and not (sys.stderr if stderr else sys.stdout).isatty() else None
        super().__init__(markup=False, emoji=False, highlight=False, stderr=stderr, width=width, quiet=quiet)

    def print(self, *objects: Any, **options: Any) -> None:
        """Prints; where that is not possible any more, such as on a full disk, is quiet from then on."""
        try:
            super().print(*objects, **options)
        except OSError:
            self.on_broken_pipe()

    def on_broken_pipe(self) -> None:
        """Is quiet from now on, and so is the end of the process, which flushes the file again."""
        self.quiet = True
        with suppress(OSError, ValueError), open(os.devnull, "w") as nothing:  # noqa: PTH123
            os.dup2(nothing.fileno(), self.file.fileno())

    def render_str(self, text: str, **options: Any) -> Text:
        """Renders text as it is."""
        return super().render_str(printable(text), **options)
