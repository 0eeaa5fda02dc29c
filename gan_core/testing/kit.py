"""Runs the checks, under pytest or one by one."""

import json
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING, Protocol

from gan_core.precision import tf32_restored
from gan_core.testing.checks import CHECKS
from gan_core.testing.subject import Subject, find_subject

if TYPE_CHECKING:
    import pytest


class NamedCheck(Protocol):
    """A check of a plugin of any kind."""

    @property
    def name(self) -> str:
        """Its name."""

    @property
    def promise(self) -> str:
        """The property, in one sentence."""

    def __call__(self) -> None:
        """Runs it, and raises AssertionError if the property does not hold."""


@dataclass(frozen=True)
class Check:
    """A check of one property of one variant: a callable that raises AssertionError if the property does not hold.

    Attributes:
        variant: The variant's name.
        name: The check's name.
        options: Options of the variant with which it is checked, beside those of `Variant.small`.
    """

    variant: str
    name: str
    options: Mapping[str, object] = field(default_factory=dict)

    @property
    def promise(self) -> str:
        """The property, in one sentence."""
        return (CHECKS[self.name].__doc__ or "").partition("\n\n")[0].strip()

    @tf32_restored()  # Checks call losses by themselves, and penalties forbid it until the end of an update.
    def __call__(self) -> None:
        """Runs the check.

        Raises:
            AssertionError: The property does not hold; the message gives the reason.
            UserError: The variant cannot be loaded, an option is not allowed, or it does not support any of the data
                shapes that are tried.
        """
        CHECKS[self.name](_subject(self.variant, json.dumps(dict(self.options), sort_keys=True)))


@cache
def _subject(variant: str, options: str) -> Subject:
    return find_subject(variant, json.loads(options))


def checks_of(variant: str, options: Mapping[str, object] | None = None) -> Iterator[Check]:
    """Yields every check of the kit for a variant, given by name, with these options."""
    for name in CHECKS:
        yield Check(variant, name, options or {})


def parametrize_with_checks(
    *variants: str, options: Mapping[str, object] | None = None, expected_failures: Mapping[str, str] | None = None
) -> "pytest.MarkDecorator":
    """Parametrizes a pytest test with one argument, `check`, by every check of the kit for the variants.

    Args:
        variants: Names of the variants.
        options: Their options, beside those of `Variant.small`.
        expected_failures: Names of checks that are expected to fail, with the reasons. They are marked as strict xfail:
            one that passes is an error. Checks cannot be left out in any other way.

    Returns:
        The decorator. Test ids are "VARIANT-CHECK".

    Raises:
        ValueError: `expected_failures` names a check that does not exist.
    """
    checks = {f"{name}-{check.name}": check for name in variants for check in checks_of(name, options)}
    return parametrized(checks, CHECKS, expected_failures or {})


def parametrized(
    checks: Mapping[str, NamedCheck], known: Collection[str], reasons: Mapping[str, str]
) -> "pytest.MarkDecorator":
    """Returns the decorator that passes each check, by test id, as `check`.

    Args:
        checks: The checks.
        known: The names of all checks of this kind.
        reasons: Why checks of these names are expected to fail.

    Raises:
        ValueError: `reasons` names a check that does not exist.
    """
    import pytest

    if unknown := set(reasons) - set(known):
        raise ValueError(f"no such checks: {', '.join(sorted(unknown))}. Allowed: {', '.join(known)}")
    return pytest.mark.parametrize(
        "check",
        [
            pytest.param(
                check,
                id=test,
                marks=[pytest.mark.xfail(reason=reasons[check.name], strict=True)] if check.name in reasons else [],
            )
            for test, check in checks.items()
        ],
    )
