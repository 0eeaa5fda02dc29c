"""Two domains of images without pairs, in the folders of pytorch-CycleGAN-and-pix2pix: trainA, trainB, testA, testB."""

from pathlib import Path

from gan_core.data.dataset import Dataset, Rows
from gan_core.data.folder_files import Problems, lines, list_loose
from gan_core.data.image_table import ImageColumn, ImageTable, check_not_empty, common_field, conversions, usable
from gan_core.data.source import DataRequest, DataSource
from gan_core.errors import UserError
from gan_core.game.data_spec import DataSpec, Table

_DOMAINS = {"a": "A", "b": "B"}


def open_unpaired(request: DataRequest) -> Dataset:
    """Describes two domains: the table `a` with the field `a`, and the table `b` with the field `b`.

    trainA and trainB hold the training split; testA and testB, if they are there, the test split. Each domain has its
    own number of images, size and colour.

    Raises:
        UserError: A folder is missing or holds something other than images, a domain has no usable image, or
            `image_size` or `channels` is needed.
    """
    root, problems = Path(request.path).expanduser(), Problems()
    if not root.is_dir():
        raise UserError(f"dataset: {str(root)!r} is not a folder")
    tests = [letter for letter in _DOMAINS.values() if (root / f"test{letter}").is_dir()]
    splits = ["train", "test"] if tests else ["train"]
    listed = {
        (split, field): list_loose(root / f"{split}{letter}", problems)
        for split in splits
        for field, letter in _DOMAINS.items()
    }
    headers = usable([path for files in listed.values() for path in files], problems, request)
    good = {at: [path for path in files if path in headers] for at, files in listed.items()}
    check_not_empty(root, {f"{split}{_DOMAINS[field]}": files for (split, field), files in good.items()})
    tables: dict[tuple[str, str], ImageTable] = {}
    for field in _DOMAINS:
        files = {split: good[split, field] for split in splits}
        image = common_field([headers[path] for paths in files.values() for path in paths], request)
        for split in splits:
            column = ImageColumn(files=files[split], field=image, look=request.look)
            tables[split, field] = ImageTable(columns={field: column})

    def read(table: str, split: str) -> Rows:
        return tables[split, table].read()

    return Dataset(
        spec=DataSpec(
            name=request.name,
            tables={
                field: Table(
                    fields={field: tables["train", field].columns[field].field}, count=len(tables["train", field])
                )
                for field in _DOMAINS
            },
        ),
        splits={split: {field: len(tables[split, field]) for field in _DOMAINS} for split in splits},
        read=read,
        skipped=len(problems),
        left_out=lines(problems),
        converted=conversions(headers.values(), request),
    )


unpaired = DataSource(api=1, open=open_unpaired, path="PATH")
"""unpaired:PATH, two domains of images in the folders trainA and trainB (and testA and testB)."""
