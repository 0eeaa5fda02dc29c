"""Runs the checks of data sets, under pytest or one by one."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING

from gan_core.testing.dataset_checks import DATASET_CHECKS
from gan_core.testing.dataset_subject import DatasetSubject, find_dataset
from gan_core.testing.kit import parametrized

if TYPE_CHECKING:
    import pytest


@dataclass(frozen=True)
class DatasetCheck:
    """A check of one property of one data set: a callable that raises AssertionError if the property does not hold.

    Attributes:
        dataset: The data set, as written after `--dataset`.
        name: The check's name.
        options: The settings of the data set with which it is checked, such as image_size.
    """

    dataset: str
    name: str
    options: Mapping[str, object] = field(default_factory=dict)

    @property
    def promise(self) -> str:
        """The property, in one sentence."""
        return DATASET_CHECKS[self.name].__doc__ or ""

    def __call__(self) -> None:
        """Runs the check.

        Raises:
            AssertionError: The property does not hold; the message gives the reason.
            UserError: The data set cannot be loaded or opened, or an option is not allowed.
        """
        DATASET_CHECKS[self.name](_subject(self.dataset, json.dumps(dict(self.options), sort_keys=True, default=str)))


@cache
def _subject(dataset: str, options: str) -> DatasetSubject:
    return find_dataset(dataset, json.loads(options))


def dataset_checks_of(dataset: str, options: Mapping[str, object] | None = None) -> Iterator[DatasetCheck]:
    """Yields every check of the kit for a data set, with these options."""
    for name in DATASET_CHECKS:
        yield DatasetCheck(dataset, name, options or {})


def parametrize_with_dataset_checks(
    *datasets: str, options: Mapping[str, object] | None = None, expected_failures: Mapping[str, str] | None = None
) -> "pytest.MarkDecorator":
    """Parametrizes a pytest test with one argument, `check`, by every check of the kit for the data sets.

    Args:
        datasets: The data sets, each as written after `--dataset`.
        options: Settings of the data sets, such as image_size.
        expected_failures: Names of checks that are expected to fail, as for `parametrize_with_checks`.

    Returns:
        The decorator. Test ids are "DATASET-CHECK".

    Raises:
        ValueError: `expected_failures` names a check that does not exist.
    """
    checks = {f"{name}-{check.name}": check for name in datasets for check in dataset_checks_of(name, options)}
    return parametrized(checks, DATASET_CHECKS, expected_failures or {})
