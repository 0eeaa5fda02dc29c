"""Errors that are printed without a traceback, and suggestions of valid names for their messages."""

from collections.abc import Iterable
from difflib import get_close_matches


class UserError(ValueError):
    """An error that the user can fix. Its text is the whole message: what is wrong, and how to fix it.

    The command line prints it without a traceback and exits with code 2.
    """


class TrainingError(RuntimeError):
    """Training cannot continue. Saved checkpoints are intact. The command line exits with code 1.

    Attributes:
        reports: Whether this process prints the message; if None, process 0 does.
    """

    reports: bool | None = None


class NotFiniteError(TrainingError):
    """Training diverged: a term or a gradient became NaN or infinite; the message names it."""


class LostProcessError(TrainingError):
    """Another process did not arrive, ended, or does not answer; the message names it.

    `reports` is whether this process prints the message: the first remaining process does.
    """

    def __init__(self, text: str, *, reports: bool = True) -> None:
        super().__init__(text)
        self.reports = reports


class DiskFullError(TrainingError):
    """The disk is full; the message names the folder and the sizes."""


def did_you_mean(name: str, valid: Iterable[str]) -> str:
    """Returns " Did you mean 'x'?" for the valid name nearest to `name`, or "" if none is close."""
    by_case = {choice.casefold(): choice for choice in valid}
    near = get_close_matches(name.casefold(), by_case, n=1, cutoff=0.5)
    return f" Did you mean {by_case[near[0]]!r}?" if near else ""
