"""Runs the conformance kit on this variant."""

from gan_core.testing import Check, parametrize_with_checks


@parametrize_with_checks("infogan")
def test_conformance(check: Check) -> None:
    check()
