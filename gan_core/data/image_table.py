"""Tables of stored pictures: all are checked, and problems are reported, before anything else is done."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gan_core.data.checked import Checked, check
from gan_core.data.dataset import Dataset, Rows
from gan_core.data.decoder import ImageColumn, StoredImages
from gan_core.data.folder_files import Problems, describe, lines
from gan_core.data.labels import Labels
from gan_core.data.pictures import Half
from gan_core.data.pixels import CHANNELS
from gan_core.data.residency import Residency, choose_residency
from gan_core.data.source import DataRequest
from gan_core.data.stored import Stored
from gan_core.data.streaming import read_rows
from gan_core.errors import UserError
from gan_core.game.data_spec import DataSpec, Field, ImageField, LabelField, Table

Numbers = NDArray[np.int64]
"""The numbers of stored pictures, row by row."""


@dataclass(frozen=True)
class Usable:
    """Checked pictures, and which of them can be used.

    Attributes:
        checked: The pictures.
        good: The numbers of those that can be used.
        skipped: How many files are left out.
        left_out: The first of them, and why, as in `Dataset`.
        converted: How many are converted in which way, as in `Dataset`.
    """

    checked: Checked
    good: Numbers
    skipped: int
    left_out: list[str]
    converted: dict[str, int]

    def among(self, numbers: Numbers) -> Numbers:
        """Returns those of `numbers` that can be used, in the same order."""
        return numbers[np.isin(numbers, self.good)]


def usable(stored: Stored, problems: Problems, request: DataRequest, *, side_by_side: bool = False) -> Usable:
    """Checks pictures, each of which is read and decoded once for as long as its file does not change.

    Args:
        stored: The pictures.
        problems: What is known already not to be a picture.
        request: With `skip_bad`, those that cannot be used are left out.
        side_by_side: Whether each file has two images of equal width.

    Raises:
        UserError: There are problems, and `skip_bad` is off; or no picture is left.
    """
    checked = check(stored)
    found, headers = unusable(checked), checked.headers
    if side_by_side:
        for at in np.flatnonzero(headers["width"] % 2).tolist():
            width = headers["width"][at]
            found[at] = f"is {width} pixels wide, but two images side by side have an even width"
    good = np.ones(len(headers), dtype=bool)
    good[list(found)] = False
    if problems:
        good[[at for at, name in enumerate(stored.names) if name in problems]] = False
    every = problems | {stored.names[at]: why for at, why in found.items()}
    if (every and not request.skip_bad) or not good.any():
        raise UserError(describe(every, int(good.sum()) + len(every)))
    converted = conversions(headers[good], request, side_by_side=side_by_side)
    return Usable(checked, np.flatnonzero(good), len(every), lines(every), converted)


def unusable(checked: Checked) -> dict[int, str]:
    """Returns which pictures cannot be used, by number, and why: they are damaged, or of a mode of unknown range."""
    found, modes = dict(checked.problems), checked.headers["mode"]
    for mode in np.unique(modes):
        if mode and mode.decode() not in CHANNELS:
            why = f"its mode is {mode.decode()}; allowed: {', '.join(CHANNELS)}"
            found |= dict.fromkeys(np.flatnonzero(modes == mode).tolist(), why)
    return found


def conversions(headers: NDArray[Any], request: DataRequest, *, side_by_side: bool = False) -> dict[str, int]:
    """Returns `Dataset.converted` of pictures with these headers."""
    width = headers["width"] // 2 if side_by_side else headers["width"]
    counted = {
        "16 bit": int(headers["deep"].sum()),
        "transparent": int(headers["transparent"].sum()),
        "not square": 0 if request.image_size is None else int((width != headers["height"]).sum()),
    }
    return {kind: count for kind, count in counted.items() if count}


def check_not_empty(root: Path | str, parts: Mapping[str, int]) -> None:
    """Raises an error if a part of a data set has no image left.

    Args:
        root: The folder of the data set.
        parts: The number of images that can be used, by the name of the part, such as "train".

    Raises:
        UserError: One has none.
    """
    for part, count in parts.items():
        if not count:
            raise UserError(f"dataset: {str(root)!r} has no image that can be used in {part}")


def common_field(checked: Checked, numbers: Numbers, request: DataRequest, half: Half = "") -> ImageField:
    """Returns the shape of images, as the request has it, or else the one that they share.

    Raises:
        UserError: They differ in size or colour, and the request does not say what they become.
    """
    headers, names = checked.headers[numbers], checked.stored.names
    first = headers[0]
    width, height = int(first["width"]), int(first["height"])
    if request.image_size is not None:
        width = height = request.image_size
    elif len(other := np.flatnonzero((headers["width"] != width) | (headers["height"] != height))):
        one = headers[other[0]]
        raise UserError(
            f"dataset: {names[numbers[other[0]]]} is {one['width']} x {one['height']} pixels, but "
            f"{names[numbers[0]]} is {width} x {height}: pass --image-size, to which each image is cropped at its "
            "centre and resized"
        )
    elif half:
        width //= 2
    return ImageField(channels=request.channels or _common_channels(checked, numbers), height=height, width=width)


def _common_channels(checked: Checked, numbers: Numbers) -> int:
    modes, names = checked.headers["mode"][numbers], checked.stored.names
    first = modes[0].decode()
    of_mode = {mode: CHANNELS[mode.decode()] for mode in np.unique(modes)}
    odd = [mode for mode, channels in of_mode.items() if channels is None or channels != CHANNELS[first]]
    if odd:
        at = int(np.flatnonzero(np.isin(modes, odd))[0])
        what = f"has the mode {modes[at].decode()}" + (f", and {names[numbers[0]]} has {first}" if at else "")
        raise UserError(
            f"dataset: {names[numbers[at]]} {what}: pass --channels 1 (grey) or --channels 3 (RGB); "
            "transparent images are composited on --background"
        )
    return CHANNELS[first] or 1


@dataclass(frozen=True, kw_only=True)
class ImageTable:
    """The rows of one table in one split, not read yet: pictures by image field, and labels by label field."""

    columns: Mapping[str, ImageColumn]
    labels: Mapping[str, Tensor] = field(default_factory=dict)
    classes: Mapping[str, LabelField] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(next(iter(self.columns.values())).at)

    @property
    def fields(self) -> dict[str, Field]:
        """The fields of a row."""
        images: dict[str, Field] = {
            name: ImageField(channels=column.shape[0], height=column.shape[1], width=column.shape[2])
            for name, column in self.columns.items()
        }
        return images | dict(self.classes)

    @property
    def size(self) -> int:
        """The bytes of all decoded images."""
        return len(self) * sum(int(np.prod(column.shape)) for column in self.columns.values())

    def read(self, residency: Residency) -> Rows:
        """Returns the rows, in memory or decoded each time."""
        return read_rows(StoredImages.of(self.columns), self.labels, residency)


@dataclass(frozen=True, kw_only=True)
class Part:
    """One split of a data set of pictures, with labels or without.

    Attributes:
        numbers: The numbers of its pictures, row by row.
        labels: The class of each row, and the classes.
    """

    numbers: Numbers
    labels: Labels | None = None


def labelled_dataset(request: DataRequest, pictures: Usable, splits: Mapping[str, Part]) -> Dataset:
    """Returns a data set of one table, `images`.

    Args:
        request: What the settings say.
        pictures: Its pictures.
        splits: The rows of each split; all have the same classes, or none has labels.

    Raises:
        UserError: The pictures have no common shape, or a split has none that can be used.
    """
    shape = common_field(pictures.checked, pictures.good, request).shape
    tables = {}
    for split, part in splits.items():
        good = np.isin(part.numbers, pictures.good)
        column = ImageColumn(checked=pictures.checked, at=part.numbers[good], shape=shape, look=request.look)
        columns = {"images": column}
        if part.labels is None:
            tables[split] = {"images": ImageTable(columns=columns)}
            continue
        labels, classes = part.labels
        table = ImageTable(
            columns=columns, labels={"labels": torch.from_numpy(labels[good])}, classes={"labels": classes}
        )
        tables[split] = {"images": table}
    check_not_empty(request.path, {split: len(table["images"]) for split, table in tables.items()})
    return image_dataset(request, tables, pictures)


def image_dataset(request: DataRequest, splits: Mapping[str, Mapping[str, ImageTable]], pictures: Usable) -> Dataset:
    """Returns the data set of tables of stored pictures.

    Args:
        request: What the settings say.
        splits: The tables by split and name.
        pictures: What they were chosen from.
    """
    train = splits["train"]
    residency = choose_residency(request.resident, sum(table.size for table in train.values()), request.workers)
    return Dataset(
        spec=DataSpec(
            name=request.name,
            tables={name: Table(fields=table.fields, count=len(table)) for name, table in train.items()},
        ),
        splits={split: {name: len(table) for name, table in tables.items()} for split, tables in splits.items()},
        read=lambda table, split: splits[split][table].read(residency),
        skipped=pictures.skipped,
        left_out=pictures.left_out,
        converted=pictures.converted,
        residency=residency,
    )
