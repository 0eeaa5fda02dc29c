"""The data set under test."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from gan_core.data.catalog import load_source, open_dataset
from gan_core.data.dataset import Dataset, RealRows, Rows
from gan_core.data.source import DataSource
from gan_core.errors import UserError
from gan_core.plugins.find import Plugin
from gan_core.settings.resolve import validated
from gan_core.settings.settings import Settings

OPTIONS = ("data_dir", "image_size", "channels", "skip_bad", "background", "crop")
"""The settings of a run that a data set is given."""


@dataclass(frozen=True)
class DatasetSubject:
    """A loaded data set plugin, and what it is asked for.

    Attributes:
        name: What the user writes after `--dataset`.
        plugin: The plugin.
        source: Its object.
        path: What follows the colon in `name`.
        request: The settings in `OPTIONS` that have not their defaults.
    """

    name: str
    plugin: Plugin
    source: DataSource
    path: str
    request: Mapping[str, Any] = field(default_factory=dict)

    def open(self, **changes: Any) -> Dataset:
        """Opens the data set, with other settings."""
        return open_dataset(self.name, **{**self.request, **changes})

    @cached_property
    def dataset(self) -> Dataset:
        """The data set, opened once."""
        return self.open()

    @cached_property
    def tables(self) -> dict[tuple[str, str], Rows]:
        """The rows by table and split, read once."""
        return {(table, split): self.dataset.read(table, split) for table, split in self.parts()}

    def parts(self) -> list[tuple[str, str]]:
        """Returns every table and split."""
        return [(table, split) for split, counts in self.dataset.splits.items() for table in counts]

    def count(self, table: str, split: str) -> int:
        """Returns the number of rows that a table is said to have in a split."""
        return self.dataset.splits[split][table]


def one_batch(rows: Rows, indices: list[int]) -> RealRows:
    """Returns the rows at these indices."""
    return next(iter(rows.batches(iter([indices]))))


def find_dataset(name: str, options: Mapping[str, object]) -> DatasetSubject:
    """Loads the plugin of a data set.

    Args:
        name: What the user writes after `--dataset`.
        options: The settings in `OPTIONS` with which it is checked.

    Raises:
        UserError: It cannot be loaded, or an option is not allowed.
    """
    if unknown := [key for key in options if key not in OPTIONS]:
        raise UserError(f"{unknown[0]}: no such option of a data set. Allowed: {', '.join(OPTIONS)}")
    settings = validated(Settings, {"variant": "none", "dataset": name, **options})
    plugin, source, path = load_source(name)
    return DatasetSubject(name, plugin, source, path, {key: getattr(settings, key) for key in options})
