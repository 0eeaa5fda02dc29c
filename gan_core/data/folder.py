"""A folder of images as a data set; its subfolders are classes, or the splits `train` and `test`."""

import os
from itertools import islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from gan_core.data.dataset import Dataset
from gan_core.data.folder_files import Files, FolderFiles, Problems, list_files, stored_files
from gan_core.data.image_table import Part, labelled_dataset, usable
from gan_core.data.source import DataRequest, DataSource
from gan_core.errors import UserError
from gan_core.game.data_spec import LabelField


def open_folder(request: DataRequest) -> Dataset:
    """Describes the images in a folder; its subfolders are classes, in alphabetical order.

    Where the folder has the subfolders `train` and `test` and no other, they are splits, each with the same classes.
    Images that are not of one size need `image_size`: they are cropped to their centre and resized. Images that are not
    all grey or all RGB need `channels`; transparent images are composited on a colour.

    Raises:
        UserError: A file is not a readable image, a class is empty, or `image_size` or `channels` is needed.
    """
    root = Path(request.path).expanduser()
    found = {split: list_files(folder) for split, folder in splits(root).items()}
    classes = [folder.name for folder in found["train"].classes]
    for split, files in found.items():
        if (names := [folder.name for folder in files.classes]) != classes:
            raise UserError(
                f"dataset: {str(root)!r} has the classes {', '.join(classes) or 'none'} in train, but "
                f"{', '.join(names) or 'none'} in {split}"
            )
    problems: Problems = {}
    every: Files = {}
    for files in found.values():
        problems |= files.problems
        every |= files.files
    pictures = usable(stored_files(root, every), problems, request)
    parts: dict[str, Part] = {}
    start = 0
    for split, files in found.items():
        numbers = np.arange(start, start + len(files.files))
        start += len(numbers)
        labels = np.array(files.labels, dtype=np.int64)
        _check_classes(files, labels[np.isin(numbers, pictures.good)] if classes else labels)
        known = (labels, LabelField(classes=len(classes), names=tuple(classes))) if classes else None
        parts[split] = Part(numbers=numbers, labels=known)
    return labelled_dataset(request, pictures, parts)


def splits(root: Path) -> dict[str, Path]:
    """Returns the folder of each split."""
    try:
        with os.scandir(root) as found:  # Three of the names are enough to know: there may be a million.
            folders = set(islice((entry.name for entry in found if not entry.name.startswith(".")), 3))
    except OSError:
        folders = set()  # The error is reported where files are listed.
    return {split: root / split for split in ("train", "test")} if folders == {"train", "test"} else {"train": root}


def _check_classes(found: FolderFiles, labels: NDArray[np.int64]) -> None:
    """Checks that each class has one of the labels of usable images.

    Raises:
        UserError: One has not.
    """
    for label, folder in enumerate(found.classes):
        if label not in labels:
            raise UserError(f"dataset: the class folder {str(folder)!r} has no image that can be used")


folder = DataSource(api=1, open=open_folder, path="PATH")
"""folder:PATH, image files of your own; subfolders are classes, and train and test are splits."""
