"""Two domains of images without pairs, in the folders of pytorch-CycleGAN-and-pix2pix: trainA, trainB, testA, testB."""

from pathlib import Path

import numpy as np

from gan_core.data.dataset import Dataset
from gan_core.data.decoder import ImageColumn
from gan_core.data.folder_files import Problems, list_loose, stored_files
from gan_core.data.image_table import ImageTable, check_not_empty, common_field, image_dataset, usable
from gan_core.data.source import DataRequest, DataSource
from gan_core.errors import UserError

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
    every = {path: stamp for files in listed.values() for path, stamp in files.items()}
    pictures = usable(stored_files(root, every), problems, request)
    numbers = {path: number for number, path in enumerate(every)}
    good = {
        at: pictures.among(np.array([numbers[path] for path in files], dtype=np.int64)) for at, files in listed.items()
    }
    check_not_empty(root, {f"{split}{_DOMAINS[field]}": len(at) for (split, field), at in good.items()})
    shapes = {
        field: common_field(pictures.checked, np.concatenate([good[split, field] for split in splits]), request).shape
        for field in _DOMAINS
    }
    tables = {
        split: {
            field: ImageTable(
                columns={
                    field: ImageColumn(
                        checked=pictures.checked, at=good[split, field], shape=shapes[field], look=request.look
                    )
                }
            )
            for field in _DOMAINS
        }
        for split in splits
    }
    return image_dataset(request, tables, pictures)


unpaired = DataSource(api=1, open=open_unpaired, path="PATH")
"""unpaired:PATH, two domains of images in the folders trainA and trainB (and testA and testB)."""
