"""Runs the checks, under pytest or one by one."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

from gan_core.testing.checks import CHECKS
from gan_core.testing.subject import Subject, find_subject

if TYPE_CHECKING:
    import pytest


@dataclass(frozen=True)
class Check:
    """A check of one property of one variant: a callable that raises AssertionError if the property does not hold.

    Attributes:
        variant: The variant's name.
        name: The check's name.
    """

    variant: str
    name: str

    @property
    def promise(self) -> str:
        """The property, in one sentence."""
        return (CHECKS[self.name].__doc__ or "").strip()

    def __call__(self) -> None:
        """Runs the check.

        Raises:
            AssertionError: The property does not hold; the message gives the reason.
            UserError: The variant cannot be loaded, or does not support any of the data shapes that are tried.
        """
        CHECKS[self.name](_subject(self.variant))


@cache
def _subject(variant: str) -> Subject:
    return find_subject(variant)


def checks_of(variant: str) -> Iterator[Check]:
    """Yields every check of the kit for a variant, given by name."""
    for name in CHECKS:
        yield Check(variant, name)


def parametrize_with_checks(
    *variants: str, expected_failures: Mapping[str, str] | None = None
) -> "pytest.MarkDecorator":
    """Parametrizes a pytest test with one argument, `check`, by every check of the kit for the variants.

    Args:
        variants: Names of the variants.
        expected_failures: Names of checks that are expected to fail, with the reasons. They are marked as strict xfail:
            one that passes is an error. Checks cannot be left out in any other way.

    Returns:
        The decorator. Test ids are "VARIANT-CHECK".

    Raises:
        ValueError: `expected_failures` names a check that does not exist.
    """
    import pytest

    reasons = expected_failures or {}
    if unknown := set(reasons) - set(CHECKS):
        raise ValueError(f"no such checks: {', '.join(sorted(unknown))}. Allowed: {', '.join(CHECKS)}")
    return pytest.mark.parametrize(
        "check",
        [
            pytest.param(
                check,
                id=f"{check.variant}-{check.name}",
                marks=[pytest.mark.xfail(reason=reasons[check.name], strict=True)] if check.name in reasons else [],
            )
            for variant in variants
            for check in checks_of(variant)
        ],
    )
