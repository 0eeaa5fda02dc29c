"""Data sets by name, from the entry-point group `gan_core.datasets`."""

from dataclasses import replace
from functools import cache
from pathlib import Path

from gan_core.data.dataset import Dataset
from gan_core.data.pixels import DEFAULT_LOOK, Crop
from gan_core.data.source import API, DataRequest, DataSource
from gan_core.errors import UserError, did_you_mean
from gan_core.plugins.find import DATASETS, Plugin, find_plugins
from gan_core.plugins.load import load_plugin


def open_dataset(
    name: str,
    *,
    data_dir: Path | None = None,
    image_size: int | None = None,
    channels: int | None = None,
    skip_bad: bool = False,
    background: str = DEFAULT_LOOK.background,
    crop: Crop = DEFAULT_LOOK.crop,
) -> Dataset:
    """Describes the data set `name`; its rows are read later.

    Args:
        name: The name of an installed data set, such as "mnist", or NAME:PATH, such as "folder:cats".
        data_dir: A folder that already holds the files of a data set that is downloaded otherwise.
        image_size: Pixels a side to resize to; None keeps the data's own size.
        channels: 1 converts to grey, 3 to RGB; None keeps the data's own channels.
        skip_bad: Whether to leave out files that are not readable images.
        background: The colour on which transparent images are laid.
        crop: Whether images of other proportions are cropped at their centre or squeezed.

    Raises:
        UserError: No data set has that name, or it cannot be used.
    """
    plugin, source, path = load_source(name)
    request = DataRequest(
        name=name,
        path=path,
        data_dir=data_dir,
        image_size=image_size,
        channels=channels,
        skip_bad=skip_bad,
        background=background,
        crop=crop,
    )
    try:
        dataset = source.open(request)
    except UserError:
        raise
    except ValueError as error:
        raise UserError(f"{plugin.label}: {error}") from error
    return replace(dataset, read=cache(dataset.read))  # Training, evaluation and samples read the same rows.


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
