"""Data sets by name, from the entry-point group `gan_core.datasets`."""

from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

from gan_core.data.dataset import Dataset
from gan_core.data.source import API, COLUMNS, DataRequest, DataSource
from gan_core.errors import UserError, did_you_mean
from gan_core.plugins.find import DATASETS, Plugin, find_plugins
from gan_core.plugins.load import load_plugin


def open_dataset(name: str, **options: Any) -> Dataset:
    """Describes the data set `name`; its rows are read later.

    Args:
        name: The name of an installed data set, such as "mnist", or NAME:PATH, such as "folder:cats".
        options: Fields of `DataRequest` that have not their defaults; see `DataRequest.options_in`.

    Raises:
        UserError: No data set has that name, it does not take an option, or it cannot be used.
    """
    plugin, source, path = load_source(name)
    request = DataRequest(name=name, path=path, **options)
    for key in COLUMNS:
        if getattr(request, key) is not None and not source.columns:
            raise UserError(f"{key}: {getattr(request, key)!r} is not allowed for {name!r}, which has no columns")
    try:
        dataset = source.open(request)
    except UserError:
        raise
    except ValueError as error:
        raise UserError(f"{plugin.label}: {error}") from error
    if request.resident == "no" and dataset.residency is None:
        raise UserError(f"resident: 'no' is not allowed for {name!r}, which is always kept in memory. Omit it")
    return replace(dataset, read=cache(dataset.read))  # Training, evaluation and samples read the same rows.


def open_streamed(name: str, **options: Any) -> Dataset:
    """Describes the data set `name`, whose images are not kept in memory where that is possible.

    Args:
        name: As for `open_dataset`.
        options: As for `open_dataset`.

    Raises:
        UserError: As for `open_dataset`.
    """
    dataset = open_dataset(name, **options)
    return dataset if dataset.residency is None else open_dataset(name, **options | {"resident": "no"})


def load_source(name: str) -> tuple[Plugin, DataSource, str]:
    """Imports the plugin of a data set, and returns it with its object and with what follows the colon in `name`.

    Raises:
        UserError: There is none, it cannot be loaded, or a path is missing or not allowed.
    """
    kind, path = _split(name)
    plugin, source = load_plugin(kind, DATASETS, DataSource, API)
    if bool(path) != bool(source.path):
        allowed = f"{kind}:{source.path}" if source.path else repr(kind)
        raise UserError(f"dataset: {name!r} is not allowed. Write {allowed}")
    return plugin, source, path


def _split(name: str) -> tuple[str, str]:
    """Returns the name of the data set's plugin, and what follows it after a colon.

    Raises:
        UserError: No data set has that name.
    """
    plugins = find_plugins(DATASETS)
    for plugin in plugins:
        for known in (plugin.name, plugin.full_name):
            head, colon, path = name[: len(known)], name[len(known) : len(known) + 1], name[len(known) + 1 :]
            if head == known and colon in ("", ":"):
                return known, path
    names = [plugin.name for plugin in plugins]
    near = f" Did you mean 'folder:{name}'?" if Path(name).is_dir() else did_you_mean(name.partition(":")[0], names)
    raise UserError(
        f"dataset: {name!r} is not known.{near} Installed: {', '.join(names)}. "
        "`gan_core list --datasets` describes them"
    )
