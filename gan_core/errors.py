"""Errors that have a message instead of a traceback, and the nearest valid name to put into them."""

from collections.abc import Iterable
from difflib import get_close_matches


class UserError(ValueError):
    """Something that the user can put right. Its text is the whole message: what is wrong, and the way out.

    The command line prints it without a traceback and leaves with exit code 2.
    """


class TrainingError(RuntimeError):
    """A training that cannot go on. What it saved is whole. The command line leaves with exit code 1."""


class NotFiniteError(TrainingError):
    """It diverged: a term or a gradient became NaN or infinite; the message names it."""


class LostProcessError(TrainingError):
    """Another process did not come, went away, or does not answer; the message names it.

    `speaks` says whether this process is the first of those that are left, which prints it for all.
    """

    def __init__(self, text: str, *, speaks: bool = True) -> None:
        super().__init__(text)
        self.speaks = speaks


class DiskFullError(TrainingError):
    """There is no room for what has to be written; the message names the folder and the sizes."""


def did_you_mean(name: str, valid: Iterable[str]) -> str:
    """Returns " Did you mean 'x'?" for the valid name nearest to `name`, or "" where none is near."""
    by_case = {choice.casefold(): choice for choice in valid}
    near = get_close_matches(name.casefold(), by_case, n=1, cutoff=0.5)
    return f" Did you mean {by_case[near[0]]!r}?" if near else ""
