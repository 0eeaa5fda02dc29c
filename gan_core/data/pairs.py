"""Pairs of images: side by side in one file, as in pytorch-CycleGAN-and-pix2pix, or of one name in two folders."""

from pathlib import Path

import numpy as np

from gan_core.data.dataset import Dataset
from gan_core.data.decoder import ImageColumn
from gan_core.data.folder_files import Files, Problems, list_loose, stored_files
from gan_core.data.image_table import (
    ImageTable,
    Numbers,
    Usable,
    check_not_empty,
    common_field,
    image_dataset,
    usable,
)
from gan_core.data.pictures import Half
from gan_core.data.source import DataRequest, DataSource
from gan_core.errors import UserError

Pairs = dict[str, Files]
"""The files of the fields `a` and `b`, row by row."""


def open_pairs(request: DataRequest) -> Dataset:
    """Describes pairs: one table with the fields `a` and `b`.

    The folder has either `train` (and `test`), whose files have `a` as their left half and `b` as their right half, or
    `A` and `B`, whose files have the same names (their suffixes may differ), with subfolders `train` (and `test`) or
    without. Sizes and colours of `a` and `b` may differ.

    Raises:
        UserError: A folder is missing, a file has no partner, an odd width or is not a readable image, or `image_size`
            or `channels` is needed.
    """
    root, problems = Path(request.path).expanduser(), Problems()
    two_folders = (root / "A").is_dir() or (root / "B").is_dir()
    listed = _two_folders(root, problems) if two_folders else _side_by_side(root, problems)
    every = {path: stamp for files in listed.values() for one in files.values() for path, stamp in one.items()}
    pictures = usable(stored_files(root, every), problems, request, side_by_side=not two_folders)
    halves: dict[str, Half] = {"a": "", "b": ""} if two_folders else {"a": "left", "b": "right"}
    numbers = {path: number for number, path in enumerate(every)}
    rows = {split: _whole_rows(files, numbers, pictures) for split, files in listed.items()}
    check_not_empty(root, {split: len(at["a"]) for split, at in rows.items()})
    fields = {
        name: common_field(pictures.checked, np.concatenate([at[name] for at in rows.values()]), request, half)
        for name, half in halves.items()
    }
    tables = {
        split: ImageTable(
            columns={
                name: ImageColumn(
                    checked=pictures.checked, at=at[name], shape=fields[name].shape, half=half, look=request.look
                )
                for name, half in halves.items()
            }
        )
        for split, at in rows.items()
    }
    return image_dataset(request, {split: {"pairs": table} for split, table in tables.items()}, pictures)


def _side_by_side(root: Path, problems: Problems) -> dict[str, Pairs]:
    if not root.is_dir():
        raise UserError(f"dataset: {str(root)!r} is not a folder")
    if not (root / "train").is_dir():
        raise UserError(
            f"dataset: {str(root)!r} has neither the folder train, with two images side by side in each file, nor the "
            "folders A and B, with files of the same names"
        )
    splits = ["train", "test"] if (root / "test").is_dir() else ["train"]
    files = {split: list_loose(root / split, problems) for split in splits}
    return {split: {"a": paths, "b": paths} for split, paths in files.items()}


def _two_folders(root: Path, problems: Problems) -> dict[str, Pairs]:
    there = {split for split in ("train", "test") for letter in "AB" if (root / letter / split).is_dir()}
    splits = sorted({"train", *there}, reverse=True) if there else [""]
    return {name or "train": _partners(root / "A" / name, root / "B" / name, problems) for name in splits}


def _partners(first: Path, second: Path, problems: Problems) -> Pairs:
    """Returns the files of two folders by name; adds those without a partner to `problems`."""
    a, b = list_loose(first, problems), list_loose(second, problems)
    by_name = _by_name(a, problems), _by_name(b, problems)
    problems |= {path: f"has no partner in {second}" for name, path in by_name[0].items() if name not in by_name[1]}
    problems |= {path: f"has no partner in {first}" for name, path in by_name[1].items() if name not in by_name[0]}
    names = [name for name in by_name[0] if name in by_name[1]]
    return {
        "a": {by_name[0][name]: a[by_name[0][name]] for name in names},
        "b": {by_name[1][name]: b[by_name[1][name]] for name in names},
    }


def _by_name(files: Files, problems: Problems) -> dict[str, str]:
    """Returns the files by name without suffix; a second file of one name is a problem."""
    found: dict[str, str] = {}
    for path in files:
        if found.setdefault(Path(path).stem, path) is not path:
            problems[path] = f"has the same name as {Path(found[Path(path).stem]).name}"
    return found


def _whole_rows(files: Pairs, numbers: dict[str, int], pictures: Usable) -> dict[str, Numbers]:
    """Returns the numbers of the files, row by row, where both files can be used."""
    at = {name: np.array([numbers[path] for path in paths], dtype=np.int64) for name, paths in files.items()}
    whole = np.isin(at["a"], pictures.good) & np.isin(at["b"], pictures.good)
    return {name: column[whole] for name, column in at.items()}


pairs = DataSource(api=1, open=open_pairs, path="PATH")
"""pairs:PATH, pairs of images: side by side in each file of train (and test), or of one name in A and B."""
