"""zip:FILE, images in a zip file as StyleGAN's dataset_tool writes it, read without unpacking.

Its `dataset.json` is {"labels": [["00000/img00000000.png", 6], …]}, or has null for images without labels
(https://github.com/NVlabs/stylegan3, dataset_tool.py; training/dataset.py reads it). A list "class_names" may give the
classes' names, which StyleGAN's tools pass over.
"""

import json
import struct
from pathlib import Path
from typing import Any
from zipfile import ZIP_DEFLATED, ZIP_STORED, BadZipFile, ZipFile, ZipInfo

import numpy as np

from gan_core.data.dataset import Dataset
from gan_core.data.folder_files import Problems
from gan_core.data.image_table import Part, labelled_dataset, usable
from gan_core.data.labels import labels_of_rows
from gan_core.data.members import StoredMembers, is_hidden, stamp_of
from gan_core.data.names import Names
from gan_core.data.remembered import Remembered
from gan_core.data.source import DataRequest, DataSource
from gan_core.errors import UserError

LABELS = "dataset.json"

_LOCAL_HEADER = struct.Struct("<4s22xHH")
"""Of a member: its signature, and the lengths of its name and of its extra field (PKWARE APPNOTE 4.3.7)."""


def open_zip(request: DataRequest) -> Dataset:
    """Describes the images of a zip file, in the order of their names.

    Raises:
        UserError: It cannot be read, a member is no readable image, or `dataset.json` does not fit.
    """
    path = Path(request.path).expanduser().absolute()
    problems: Problems = {}
    members = zip_members(path, problems)
    names = list(members.names)
    labels = _read_labels(path, members, names)
    images = [at for at, name in enumerate(names) if not is_hidden(name) and name != LABELS]
    if not images:
        raise UserError(f"dataset: {request.path!r} has no image")
    images.sort(key=names.__getitem__)
    stored = chosen(members, np.array(images, dtype=np.int64), path)
    known = labels.get("labels")
    found = None
    if known is not None:
        class_names = tuple(map(str, labels.get("class_names") or ()))
        values = [known.get(names[at]) for at in images]
        found = labels_of_rows(values, class_names, f"{path}: {LABELS}", stored.names, problems)
    part = Part(numbers=np.arange(len(images)), labels=found)
    return labelled_dataset(request, usable(stored, problems, request), {"train": part})


def zip_members(path: Path, problems: Problems) -> StoredMembers:
    """Returns all members of a zip file; those that cannot be unpacked are added to `problems`.

    Where they lie is remembered while the file stays the same: a directory of 50,000 members takes a second to read.

    Raises:
        UserError: It is no zip file, or cannot be read.
    """
    found: Problems = {}
    try:
        stamp = stamp_of(path)
        index = Remembered("zip", str(path)).once(stamp, lambda: (_index(path, found), not found))
    except (OSError, BadZipFile) as error:
        raise UserError(f"dataset: {str(path)!r} is no zip file that can be read: {error}") from None
    problems |= found
    return StoredMembers(
        place=str(path),
        names=Names(index["text"].tobytes(), index["ends"].astype(np.int64)),
        stamps=np.tile(np.array(stamp, dtype=np.int64), (len(index["offsets"]), 1)),
        files=[str(path)],
        file_of=np.zeros(len(index["offsets"]), dtype=np.int64),
        offsets=index["offsets"].astype(np.int64),
        sizes=index["sizes"].astype(np.int64),
        deflated=index["deflated"].astype(bool),
        checksums=index["checksums"].astype(np.int64),
    )


def chosen(members: StoredMembers, at: np.ndarray[Any, np.dtype[np.int64]], path: Path) -> StoredMembers:
    """Returns some members, called by the path of their file and their name."""
    return StoredMembers(
        place=members.place,
        names=Names.of(f"{path}: {members.names[number]}" for number in at.tolist()),
        stamps=members.stamps[at],
        files=members.files,
        file_of=members.file_of[at],
        offsets=members.offsets[at],
        sizes=members.sizes[at],
        deflated=members.deflated[at],
        checksums=members.checksums[at],
    )


def _index(path: Path, problems: Problems) -> dict[str, np.ndarray[Any, np.dtype[Any]]]:
    found: list[tuple[ZipInfo, int]] = []
    with ZipFile(path) as opened, path.open("rb") as file:
        for info in opened.infolist():
            if info.is_dir():
                continue
            file.seek(info.header_offset)
            header = file.read(_LOCAL_HEADER.size)
            if info.flag_bits & 1:
                problems[f"{path}: {info.filename}"] = "is encrypted"
            elif info.compress_type not in (ZIP_STORED, ZIP_DEFLATED):
                problems[f"{path}: {info.filename}"] = f"is packed by method {info.compress_type}; allowed: 0 and 8"
            elif len(header) < _LOCAL_HEADER.size or header[:4] != b"PK\x03\x04":
                problems[f"{path}: {info.filename}"] = "its header is damaged"
            else:
                _, name, extra = _LOCAL_HEADER.unpack(header)
                found.append((info, info.header_offset + _LOCAL_HEADER.size + name + extra))
    names = Names.of(info.filename for info, _ in found)
    return {
        "text": np.frombuffer(names.text, np.uint8),
        "ends": names.ends,
        "offsets": np.array([offset for _, offset in found], dtype=np.int64),
        "sizes": np.array([info.compress_size for info, _ in found], dtype=np.int64),
        "deflated": np.array([info.compress_type == ZIP_DEFLATED for info, _ in found], dtype=bool),
        "checksums": np.array([info.CRC for info, _ in found], dtype=np.int64),
    }


def _read_labels(path: Path, members: StoredMembers, names: list[str]) -> dict[str, Any]:
    """Returns the content of `dataset.json`, or nothing without one."""
    if LABELS not in names:
        return {}
    try:
        found = json.loads(members.read(names.index(LABELS)))
        if found.get("labels") is not None:
            found["labels"] = dict(found["labels"])
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise UserError(f"dataset: {path}: {LABELS} cannot be read: {error}") from None
    return dict(found)


zip_file = DataSource(api=1, open=open_zip, path="FILE")
"""zip:FILE, images in a zip file, as StyleGAN's dataset_tool writes it, with the labels of its dataset.json."""
