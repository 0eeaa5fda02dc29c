"""hf:NAME_OR_PATH, images of Hugging Face's library `datasets`: of the Hub, of a folder, or of parquet files.

The library writes what it reads into Arrow files in its own cache, once; rows are read from those, by pyarrow, in any
order.
"""

import os
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from gan_core.data.arrow import StoredArrow, arrow_table
from gan_core.data.dataset import Dataset
from gan_core.data.folder_files import Problems
from gan_core.data.image_table import Part, labelled_dataset, usable
from gan_core.data.labels import Labels, labels_of_rows
from gan_core.data.names import Names
from gan_core.data.source import DataRequest, DataSource, check_column
from gan_core.errors import UserError
from gan_core.game.data_spec import LabelField

_IMAGES, _LABELS = ("image", "img", "images"), ("label", "labels", "class")


def open_hub(request: DataRequest) -> Dataset:
    """Describes the images of the splits `train` and `test`, or of the only split.

    Raises:
        UserError: The library is not installed, the data set cannot be loaded, has no column of images, or a row has no
            readable image.
    """
    loaded = _load(request)
    train = "train" if "train" in loaded else next(iter(loaded))
    if train != "train" and len(loaded) > 1:
        raise UserError(f"dataset: {request.path!r} has the splits {', '.join(loaded)}, but none called train")
    found = {"train": loaded[train]} | ({"test": loaded["test"]} if "test" in loaded and train == "train" else {})
    features = found["train"].features
    image = _column(features, "image_column", request.image_column, _IMAGES, "Image", request)
    label = _column(features, "label_column", request.label_column, _LABELS, "ClassLabel", request)
    if image is None:
        raise UserError(
            f"image_column: which column of {request.path!r} has the images? Name it: {', '.join(features)}"
        )
    files = [file for split in found.values() for file in _files(split, request)]
    counts = {split: _rows(rows) for split, rows in found.items()}
    names = Names.of(f"{request.path} ({split}), row {at}" for split, count in counts.items() for at in range(count))
    stored = StoredArrow.of(f"{request.name} {files[0][0]}", names, files, image)
    problems: Problems = {}
    parts, start = {}, 0
    for split, rows in found.items():
        indices = np.arange(_rows(rows)) if rows._indices is None else rows._indices.column(0).to_numpy()
        numbers = start + indices.astype(np.int64)
        labels = (
            None if label is None else _labels(rows, label, request, [names[at] for at in numbers.tolist()], problems)
        )
        parts[split] = Part(numbers=numbers, labels=labels)
        start += _rows(rows)
    return labelled_dataset(request, usable(stored, problems, request), _same_classes(parts))


def _load(request: DataRequest) -> dict[str, Any]:
    """Returns the splits.

    Raises:
        UserError: They cannot be loaded.
    """
    if find_spec("datasets") is None:
        raise UserError("dataset: 'hf' needs the library datasets: pip install gan-core[hf]")
    import datasets

    if os.environ.get("LOCAL_RANK", "0") != "0":
        datasets.disable_progress_bars()
    path = Path(request.path).expanduser()
    try:
        if path.is_dir() and any((path / name).is_file() for name in ("dataset_dict.json", "state.json")):
            loaded = datasets.load_from_disk(str(path))
        elif path.suffix == ".parquet" or any(letter in path.name for letter in "*?"):
            loaded = datasets.load_dataset("parquet", data_files=str(path))
        else:
            loaded = datasets.load_dataset(str(path) if path.exists() else request.path)
    except Exception as error:  # The library raises any.
        cause = error.__cause__ or error
        raise UserError(f"dataset: {request.path!r} cannot be loaded: {type(cause).__name__}: {cause}") from error
    return dict(loaded) if isinstance(loaded, dict) else {"train": loaded}


def _rows(rows: Any) -> int:
    return int(rows.data.num_rows)


def _files(rows: Any, request: DataRequest) -> list[tuple[str, int]]:
    """Returns the Arrow files of a split, each with its number of rows."""
    files = [(file["filename"], int(arrow_table(file["filename"]).num_rows)) for file in rows.cache_files]
    if sum(count for _, count in files) != _rows(rows):
        raise UserError(f"dataset: {request.path!r} is not stored as it is. Write it with save_to_disk, and name that")
    return files


def _column(
    features: Any, key: str, asked: str | None, usual: tuple[str, ...], kind: str, request: DataRequest
) -> str | None:
    """Returns the column that is asked for, else the first of its kind, else one with a usual name."""
    names = list(features)
    if asked is not None:
        check_column(key, asked, names, "column", request.path)
        return asked
    of_kind = [name for name in names if type(features[name]).__name__ == kind]
    return next(iter(of_kind), next((name for name in usual if name in names), None))


def _labels(rows: Any, column: str, request: DataRequest, names: list[str], problems: Problems) -> Labels:
    """Returns the labels of a split; rows without one are added to `problems`, by their names."""
    of_classes = tuple(getattr(rows.features[column], "names", ()) or ())
    values = rows.data.column(column).to_pylist()
    if rows._indices is not None:
        values = [values[at] for at in rows._indices.column(0).to_pylist()]
    known = [None if of_classes and value == -1 else value for value in values]  # The library's own sign for none.
    return labels_of_rows(known, of_classes, f"{request.path}: {column}", names, problems)


def _same_classes(parts: dict[str, Part]) -> dict[str, Part]:
    """Returns the parts with the classes of the one that has the most, where they have no names."""
    known = [part.labels[1] for part in parts.values() if part.labels is not None]
    if not known:
        return parts
    most: LabelField = max(known, key=lambda one: one.classes)
    return {
        split: Part(numbers=part.numbers, labels=None if part.labels is None else (part.labels[0], most))
        for split, part in parts.items()
    }


hf = DataSource(api=1, open=open_hub, path="NAME_OR_PATH", columns=True)
"""hf:NAME_OR_PATH, a data set of Hugging Face's library datasets: of the Hub, a folder or parquet files."""
