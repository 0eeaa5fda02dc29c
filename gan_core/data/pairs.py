"""Pairs of images: side by side in one file, as in pytorch-CycleGAN-and-pix2pix, or of one name in two folders."""

from pathlib import Path

from gan_core.data.dataset import Dataset, Rows
from gan_core.data.folder_files import Problems, lines, list_loose
from gan_core.data.image_files import Half
from gan_core.data.image_table import ImageColumn, ImageTable, check_not_empty, common_field, conversions, usable
from gan_core.data.source import DataRequest, DataSource
from gan_core.errors import UserError
from gan_core.game.data_spec import DataSpec, Table

Files = dict[str, list[Path]]
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
    every = {path: None for files in listed.values() for paths in files.values() for path in paths}
    headers = usable(list(every), problems, request, side_by_side=not two_folders)
    halves: dict[str, Half] = {"a": "", "b": ""} if two_folders else {"a": "left", "b": "right"}
    good = {split: _whole_rows(files, set(headers)) for split, files in listed.items()}
    check_not_empty(root, {split: files["a"] for split, files in good.items()})
    fields = {
        name: common_field([headers[path] for files in good.values() for path in files[name]], request, half)
        for name, half in halves.items()
    }
    tables = {
        split: ImageTable(
            columns={
                name: ImageColumn(files=files[name], field=fields[name], half=half, look=request.look)
                for name, half in halves.items()
            }
        )
        for split, files in good.items()
    }

    def read(table: str, split: str) -> Rows:
        del table  # There is only one.
        return tables[split].read()

    return Dataset(
        spec=DataSpec(name=request.name, tables={"pairs": Table(fields=fields, count=len(tables["train"]))}),
        splits={split: {"pairs": len(table)} for split, table in tables.items()},
        read=read,
        skipped=len(problems),
        left_out=lines(problems),
        converted=conversions(headers.values(), request, side_by_side=not two_folders),
    )


def _side_by_side(root: Path, problems: Problems) -> dict[str, Files]:
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


def _two_folders(root: Path, problems: Problems) -> dict[str, Files]:
    there = {split for split in ("train", "test") for letter in "AB" if (root / letter / split).is_dir()}
    splits = sorted({"train", *there}, reverse=True) if there else [""]
    return {name or "train": _partners(root / "A" / name, root / "B" / name, problems) for name in splits}


def _partners(first: Path, second: Path, problems: Problems) -> Files:
    """Returns the files of two folders by name; adds those without a partner to `problems`."""
    a, b = (_by_name(folder, problems) for folder in (first, second))
    problems |= {path: f"has no partner in {second}" for name, path in a.items() if name not in b}
    problems |= {path: f"has no partner in {first}" for name, path in b.items() if name not in a}
    names = [name for name in a if name in b]
    return {"a": [a[name] for name in names], "b": [b[name] for name in names]}


def _by_name(folder: Path, problems: Problems) -> dict[str, Path]:
    """Returns the files by name without suffix; a second file of one name is a problem."""
    found: dict[str, Path] = {}
    for path in list_loose(folder, problems):
        if found.setdefault(path.stem, path) is not path:
            problems[path] = f"has the same name as {found[path.stem].name}"
    return found


def _whole_rows(files: Files, usable_files: set[Path]) -> Files:
    """Returns the rows of which both files can be used."""
    rows = [row for row in zip(files["a"], files["b"], strict=True) if set(row) <= usable_files]
    return {"a": [a for a, _ in rows], "b": [b for _, b in rows]}


pairs = DataSource(api=1, open=open_pairs, path="PATH")
"""pairs:PATH, pairs of images: side by side in each file of train (and test), or of one name in A and B."""
