"""Sampling from a run: which output, from which rows, and with which options."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from gan_core.app.load import LoadedRun
from gan_core.data.decoder import ImageColumn
from gan_core.data.folder_files import SKIP, Problems, list_loose, stored_files
from gan_core.data.image_table import ImageTable, usable
from gan_core.data.pixels import Look
from gan_core.data.residency import choose_residency
from gan_core.data.source import DataRequest
from gan_core.errors import UserError, did_you_mean
from gan_core.game.output import Output
from gan_core.sampling.given import GivenRows, given_images, given_rows
from gan_core.sampling.sampler import Sampler


@dataclass(frozen=True, kw_only=True)
class Samples:
    """What is sampled.

    Attributes:
        sampler: Draws the samples.
        names: The names of the files that the samples are made from, in order; empty without --from.
        label: The class that was asked for, or None.
    """

    sampler: Sampler
    names: tuple[str, ...]
    label: int | None

    @property
    def about(self) -> str:
        """The sampling options as JSON; "" if the variant has none."""
        options = self.sampler.options.model_dump(mode="json") if self.sampler.options else {}
        return json.dumps(options) if options else ""


def open_samples(
    run: LoadedRun,
    *,
    seed: int,
    label: str | None,
    output: str | None,
    source: str | None,
    options: Mapping[str, object],
) -> Samples:
    """Opens a sampler of a run.

    Args:
        run: The run.
        seed: Seed of the samples.
        label: The name or number of a class, or None for all.
        output: The output's name; None is the first one.
        source: "folder:PATH" with the images that the output is given; None takes those of the run's data set.
        options: Sampling options, not yet checked.

    Raises:
        UserError: One of them does not exist or does not fit, or the data set cannot be read.
    """
    drawn = run.output(output)
    given = given_images(drawn, run.data.fields)
    if source is not None and len(given) != 1:
        raise UserError(f"from: this output is made from {' and '.join(given) or 'no images'}, so not from a folder")
    run.sampler(seed, output, options)  # Checks the options before images are read.
    names: tuple[str, ...] = ()
    rows: dict[str, GivenRows] = {}
    if source is not None:
        rows, names = _files(run, given[0], source)
    elif given:
        rows = _own_rows(run, drawn)
    sampler = run.sampler(seed, output, options, rows)
    return Samples(sampler=sampler, names=names, label=None if label is None else class_number(sampler, label))


def class_number(sampler: Sampler, label: str) -> int:
    """Returns the number of a class that is given by name or number."""
    names = sampler.data.class_names if sampler.classes else ()
    if label in names:
        return names.index(label)
    if label.isdecimal() and int(label) < len(names):
        return int(label)
    if not names:
        raise UserError(f"label: {label} is not allowed. Allowed: none (the generator of this run is not conditional)")
    allowed = f"0 to {len(names) - 1}" + ("" if names[0] == "0" else f", or {', '.join(names[:20])}")
    raise UserError(f"label: {label} is not allowed.{did_you_mean(label, names)} Allowed: {allowed}")


def _files(run: LoadedRun, field: str, source: str) -> tuple[dict[str, GivenRows], tuple[str, ...]]:
    """Returns the images of a folder in the order of their names, each once, as the field that an output is given."""
    kind, _, path = source.partition(":")
    if kind != "folder" or not path:
        near = f" Did you mean 'folder:{source}'?" if Path(source).is_dir() else ""
        raise UserError(f"from: {source!r} is not allowed.{near} Write folder:PATH")
    problems: Problems = {}
    try:
        files = list_loose(Path(path).expanduser(), problems)
        pictures = usable(stored_files(Path(path), files), problems, DataRequest(name=source))
        shape = run.data.image(field).shape
        look = Look(background=run.settings.background, crop=run.settings.crop)
        column = ImageColumn(checked=pictures.checked, at=pictures.good, shape=shape, look=look)
        table = ImageTable(columns={field: column})
        rows = GivenRows(table.read(choose_residency("auto", table.size, None)), range(len(files)))
    except UserError as error:  # It names the setting of a training.
        raise UserError(f"from: {str(error).removeprefix('dataset: ').replace(SKIP, '')}") from None
    return {field: rows}, tuple(Path(file).name for file in files)


def _own_rows(run: LoadedRun, output: Output) -> dict[str, GivenRows]:
    """Returns the rows of the run's data set."""
    try:
        return given_rows(run.open_data(), output)
    except UserError as error:
        raise UserError(
            f"samples of this run are made from the images of {run.settings.dataset!r}, which cannot be used. "
            f"Pass others as --from folder:PATH.\n{error}"
        ) from None
