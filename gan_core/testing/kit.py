"""Running the checks: under pytest, or one by one."""

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
    """One property of one variant. Call it; it raises AssertionError where the property does not hold."""

    variant: str
    name: str

    @property
    def promise(self) -> str:
        """What holds, in a sentence."""
        return (CHECKS[self.name].__doc__ or "").strip()

    def __call__(self) -> None:
        """Runs it."""
        CHECKS[self.name](_subject(self.variant))


@cache
def _subject(variant: str) -> Subject:
    return find_subject(variant)


def checks_of(variant: str) -> Iterator[Check]:
    """Yields every check for the variant of that name."""
    for name in CHECKS:
        yield Check(variant, name)


def parametrize_with_checks(
    *variants: str, expected_failures: Mapping[str, str] | None = None
) -> "pytest.MarkDecorator":
    """Makes a pytest test of `check` run every check of the variants.

    Args:
        variants: Their names.
        expected_failures: Checks that fail, by name, with the reason; one that passes after all is an error. There is
            no other way to leave a check out.

    Raises:
        ValueError: `expected_failures` names a check that does not exist.
    """
    import pytest

    reasons = expected_failures or {}
    if unknown := set(reasons) - set(CHECKS):
        raise ValueError(f"no such checks: {', '.join(sorted(unknown))}. There are: {', '.join(CHECKS)}")
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
