"""Runs the conformance kit on this data set."""

from gan_core.testing import DatasetCheck, parametrize_with_dataset_checks


@parametrize_with_dataset_checks("shapes")
def test_conformance(check: DatasetCheck) -> None:
    check()
