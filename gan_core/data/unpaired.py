"""Two domains of images without pairs, in the folders of pytorch-CycleGAN-and-pix2pix: trainA, trainB, testA, testB."""

from pathlib import Path

from gan_core.data.dataset import Dataset, Rows
from gan_core.data.folder_files import Problems, list_loose
from gan_core.data.image_table import ImageColumn, ImageTable, common_field, usable
from gan_core.data.source import DataRequest, DataSource
from gan_core.game.data_spec import DataSpec, Table

_DOMAINS = {"a": "A", "b": "B"}


def open_unpaired(request: DataRequest) -> Dataset:
    """Describes two domains: the table `a` with the field `a`, and the table `b` with the field `b`.

    trainA and trainB hold the training split; testA and testB, if they are there, the test split. Each domain has its
    own number of images, size and colour.

    Raises:
        UserError: A folder is missing or holds something other than images, or `image_size` or `channels` is needed.
    """
    root, problems = Path(request.path).expanduser(), Problems()
    splits = [split for split in ("train", "test") if split == "train" or (root / f"{split}A").is_dir()]
    listed = {
        (split, field): list_loose(root / f"{split}{letter}", problems)
        for split in splits
        for field, letter in _DOMAINS.items()
    }
    headers = usable([path for files in listed.values() for path in files], problems, request)
    tables: dict[tuple[str, str], ImageTable] = {}
    for field in _DOMAINS:
        files = {split: [path for path in listed[split, field] if path in headers] for split in splits}
        image = common_field([headers[path] for paths in files.values() for path in paths], request)
        for split in splits:
            tables[split, field] = ImageTable(columns={field: ImageColumn(files=files[split], field=image)})

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
    )


unpaired = DataSource(api=1, open=open_unpaired, path="PATH")
