"""Contact sheets: some images of a data set, a row for each class."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from gan_core.console import printable
from gan_core.data.checked import Checked
from gan_core.data.dataset import Rows
from gan_core.data.decoder import ImageColumn, StoredImages
from gan_core.data.image_table import Numbers
from gan_core.data.source import DataRequest
from gan_core.game.data_spec import ImageField, LabelField
from gan_core.sampling.files import arranged, picture

_ROWS, _COLUMNS, _CELL = 12, 8, 128
"""Most classes and images of each that it shows, and the pixels of a cell where images keep their size."""


def sheet_of_pictures(
    request: DataRequest, checked: Checked, good: Numbers, labels: Sequence[int | None], classes: Sequence[str]
) -> Image.Image:
    """Draws some pictures of each class as training shows them.

    Args:
        request: What the settings say.
        checked: The pictures.
        good: The numbers of those that can be decoded.
        labels: The class of each of these.
        classes: The names of the classes.
    """
    chosen = _chosen(labels, len(classes))
    side = request.image_size or _CELL
    column = ImageColumn(checked=checked, at=good, shape=(request.channels or 3, side, side), look=request.look)
    images = StoredImages.of({"images": column})
    cells = {at: picture(torch.from_numpy(images.decode(at)["images"].copy())) for row in chosen for at in row}
    return _arranged(chosen, cells, classes)


def sheet_of_rows(rows: Rows, fields: Mapping[str, Any], count: int) -> Image.Image:
    """Draws some rows; all image fields of a row beside each other if there are several."""
    names = [name for name, kind in fields.items() if isinstance(kind, ImageField)]
    label = next((name for name, kind in fields.items() if isinstance(kind, LabelField)), None)
    kind = fields[label] if label is not None and len(names) == 1 else None
    labels = rows.labels[label].tolist() if label is not None and kind is not None else [None] * count
    chosen = _chosen(labels, kind.classes if kind is not None else 0)
    numbers = sorted({at for row in chosen for at in row})
    (batch,) = rows.batches([numbers])
    cells = {at: _beside([batch[name][place].cpu() for name in names]) for place, at in enumerate(numbers)}
    return _arranged(chosen, cells, kind.names if kind is not None else ())


def _beside(images: Sequence[Tensor]) -> Image.Image:
    pictures = [picture(image) for image in images]
    return pictures[0] if len(pictures) == 1 else arranged(pictures, 1)


def _chosen(labels: Sequence[int | None], classes: int) -> list[list[int]]:
    """Returns the positions of images that a sheet shows, row by row, evenly spread; a row has one class, if any."""
    if not classes:
        count = min(len(labels), _ROWS * _COLUMNS)
        at = np.linspace(0, len(labels) - 1, count).round().astype(int).tolist()
        return [[*at[start : start + _COLUMNS]] for start in range(0, count, _COLUMNS)]
    numbers = np.array([-1 if label is None else label for label in labels])
    rows: list[list[int]] = []
    for label in range(min(classes, _ROWS)):
        mine = np.flatnonzero(numbers == label)
        spread = np.linspace(0, len(mine) - 1, min(len(mine), _COLUMNS)).round().astype(int)
        rows.append(mine[spread].tolist() if len(mine) else [])
    return rows


def _arranged(chosen: Sequence[Sequence[int]], cells: Mapping[int, Image.Image], classes: Sequence[str]) -> Image.Image:
    rows = [[*(cells[at] for at in row), *[None] * (_COLUMNS - len(row))] for row in chosen]
    by_column = [row[column] for column in range(_COLUMNS) for row in rows]
    return arranged(by_column, len(rows), [printable(name) for name in classes[: len(rows)]])
