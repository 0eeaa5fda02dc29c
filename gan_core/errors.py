"""Errors that a user can mend, and the nearest valid name to put into them."""

from collections.abc import Iterable
from difflib import get_close_matches


class UserError(ValueError):
    """Something that the user can put right. Its text is the whole message: what is wrong, and the way out.

    The command line prints it without a traceback and leaves with exit code 2.
    """


class NotFiniteError(ArithmeticError):
    """A training diverged: a term or a gradient became NaN or infinite; the message names it."""


def did_you_mean(name: str, valid: Iterable[str]) -> str:
    """Returns " Did you mean 'x'?" for the valid name nearest to `name`, or "" where none is near."""
    by_case = {choice.casefold(): choice for choice in valid}
    near = get_close_matches(name.casefold(), by_case, n=1, cutoff=0.5)
    return f" Did you mean {by_case[near[0]]!r}?" if near else ""
