"""A folder of images as a data set; its subfolders are classes, or the splits `train` and `test`."""

from pathlib import Path

import torch

from gan_core.data.dataset import Dataset, Rows
from gan_core.data.folder_files import FolderFiles, Problems, lines, list_files
from gan_core.data.image_files import Header
from gan_core.data.image_table import ImageColumn, ImageTable, check_not_empty, common_field, conversions, usable
from gan_core.data.pixels import Look
from gan_core.data.source import DataRequest, DataSource
from gan_core.errors import UserError
from gan_core.game.data_spec import DataSpec, Field, ImageField, LabelField, Table


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
    for files in found.values():
        problems |= files.problems
    headers = usable([path for files in found.values() for path in files.labels], problems, request)
    image = common_field(list(headers.values()), request)
    tables = {split: _table(files, headers, image, request.look) for split, files in found.items()}
    check_not_empty(root, {split: table.columns["images"].files for split, table in tables.items()})
    fields: dict[str, Field] = {"images": image}
    if classes:
        fields["labels"] = LabelField(classes=len(classes), names=tuple(classes))

    def read(table: str, split: str) -> Rows:
        del table  # There is only one.
        return tables[split].read()

    return Dataset(
        spec=DataSpec(name=request.name, tables={"images": Table(fields=fields, count=len(tables["train"]))}),
        splits={split: {"images": len(table)} for split, table in tables.items()},
        read=read,
        skipped=len(problems),
        left_out=lines(problems),
        converted=conversions(headers.values(), request),
    )


def splits(root: Path) -> dict[str, Path]:
    """Returns the folder of each split."""
    try:
        folders = {path.name for path in root.iterdir() if not path.name.startswith(".")}
    except OSError:
        folders = set()  # The error is reported where files are listed.
    return {split: root / split for split in ("train", "test")} if folders == {"train", "test"} else {"train": root}


def _table(found: FolderFiles, headers: dict[Path, Header], image: ImageField, look: Look) -> ImageTable:
    """Returns the rows of one split.

    Raises:
        UserError: A class has no usable image.
    """
    files = [path for path in found.labels if path in headers]
    numbers = [number for path in files if (number := found.labels[path]) is not None]
    for label, folder in enumerate(found.classes):
        if label not in numbers:
            raise UserError(f"dataset: the class folder {str(folder)!r} has no image that can be used")
    labels = {"labels": torch.tensor(numbers, dtype=torch.int64)} if found.classes else {}
    return ImageTable(columns={"images": ImageColumn(files=files, field=image, look=look)}, labels=labels)


folder = DataSource(api=1, open=open_folder, path="PATH")
"""folder:PATH, image files of your own; subfolders are classes, and train and test are splits."""
