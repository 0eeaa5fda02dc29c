"""npy:FILE and npz:FILE, images in an array of numpy, read where they lie.

Images are uint8, N x H x W x C, N x H x W or N x C x H x W. An .npz has the layout in which `gan_core sample` writes
samples, and others their reference sets: arr_0 has the images, and arr_1 the labels. Other names of arrays are given by
`image_column` and `label_column`.
"""

import hashlib
import io
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import torch
from numpy.lib import format as npy
from numpy.typing import NDArray
from torch import Tensor

from gan_core.console import PlainConsole
from gan_core.data.array_images import Array, ArrayImages
from gan_core.data.dataset import Dataset
from gan_core.data.folder_files import Problems
from gan_core.data.labels import numbered
from gan_core.data.members import StoredMembers, stamp_of
from gan_core.data.remembered import Arrays, Remembered
from gan_core.data.residency import choose_residency
from gan_core.data.source import DataRequest, DataSource, check_column
from gan_core.data.streaming import read_rows
from gan_core.data.zips import zip_members
from gan_core.errors import UserError
from gan_core.game.data_spec import DataSpec, Field, ImageField, LabelField, Table
from gan_core.progress import progress

_IMAGES, _LABELS = ("arr_0", "images", "image", "x", "x_train"), ("arr_1", "labels", "label", "y", "y_train")
_PART = 16 << 20


def open_npy(request: DataRequest) -> Dataset:
    """Describes the images of an .npy file.

    Raises:
        UserError: It cannot be read, or holds something else.
    """
    path = Path(request.path).expanduser().absolute()
    if request.image_column or request.label_column:
        raise UserError("image_column: an .npy file has one array, without a name. Omit it, and label_column")
    try:
        with path.open("rb") as file:
            images = _described(path, file, path.stat().st_size)
        return _dataset(request, path, images, None)
    except UserError:
        raise
    except (OSError, ValueError) as error:
        raise UserError(f"dataset: {str(path)!r} is no .npy file that can be read: {error}") from None


def open_npz(request: DataRequest) -> Dataset:
    """Describes the images of an .npz file, and its labels.

    Raises:
        UserError: It cannot be read, is compressed, or holds something else.
    """
    path = Path(request.path).expanduser().absolute()
    problems: Problems = {}
    members = zip_members(path, problems)
    numbers = {name.removesuffix(".npy"): at for at, name in enumerate(members.names)}
    image = _column(numbers, "image_column", request.image_column, _IMAGES, path)
    label = _column(numbers, "label_column", request.label_column, _LABELS, path, needed=False)
    assert image is not None
    if members.deflated[numbers[image]]:
        raise UserError(
            f"dataset: the array {image!r} of {str(path)!r} is compressed, so that its images can only be read from "
            "the first on. Write the file with numpy.savez instead of savez_compressed"
        )
    try:
        with path.open("rb") as file:
            file.seek(int(members.offsets[numbers[image]]))
            images = _described(path, file, int(members.offsets[numbers[image]] + members.sizes[numbers[image]]))
        found = None if label is None else _values(members, numbers[label])
        member = int(members.offsets[numbers[image]]), int(members.checksums[numbers[image]])
        return _dataset(request, path, images, found, member)
    except UserError:
        raise
    except (OSError, ValueError) as error:
        raise UserError(f"dataset: {str(path)!r} cannot be read: {error}") from None


def _column(
    there: Iterable[str], key: str, asked: str | None, usual: tuple[str, ...], path: Path, *, needed: bool = True
) -> str | None:
    """Returns the name of the array that is asked for, or of the usual one that is there."""
    names = list(there)
    if asked is not None:
        check_column(key, asked, names, "array", path)
        return asked
    found = next((name for name in usual if name in names), None)
    if found is None and needed:
        raise UserError(f"{key}: which array of {str(path)!r} has the images? Name it: {', '.join(names)}")
    return found


def _described(path: Path, file: BinaryIO, end: int) -> Array:
    """Reads the header of an array of images, which lies before the offset `end` of the file."""
    version = npy.read_magic(file)
    read = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
    shape, fortran, dtype = read(file)
    array = Array(path=str(path), offset=file.tell(), shape=shape, dtype=dtype.str)
    if dtype != np.uint8 or len(shape) not in (3, 4) or not all(shape):
        raise UserError(
            f"dataset: {str(path)!r} has {dtype} of {' x '.join(map(str, shape))}. Allowed: uint8 of N x H x W, "
            "N x H x W x C or N x C x H x W, where C is 1 or 3"
        )
    if fortran:
        raise UserError(f"dataset: {str(path)!r} is in Fortran order. Write numpy.ascontiguousarray(images)")
    if array.offset + array.size > end:
        raise UserError(f"dataset: {str(path)!r} is cut off: it ends before its {shape[0]:,} images do")
    return array


def _values(members: StoredMembers, at: int) -> NDArray[Any]:
    """Returns a small array, such as labels."""
    return np.asarray(np.load(io.BytesIO(members.read(at)), allow_pickle=False))


def _dataset(
    request: DataRequest, path: Path, array: Array, found: NDArray[Any] | None, member: tuple[int, int] | None = None
) -> Dataset:
    last = array.shape[3] if len(array.shape) == 4 else 1
    first = len(array.shape) == 4 and last not in (1, 3)
    channels = array.shape[1] if first else last
    if channels not in (1, 3):
        raise UserError(f"dataset: {str(path)!r} has images of {channels} channels. Allowed: 1 and 3")
    height, width = array.shape[2:4] if first else array.shape[1:3]
    image = ImageField(
        channels=request.channels or channels,
        height=request.image_size or height,
        width=request.image_size or width,
    )
    fields: dict[str, Field] = {"images": image}
    labels: dict[str, Tensor] = {}
    if found is not None:
        numbers, classes = _labels(found, array.shape[0], path)
        labels["labels"], fields["labels"] = torch.from_numpy(numbers), classes
    decoder = ArrayImages(
        array=array,
        layout=(height, width, channels),
        channels_first=first,
        shapes={"images": image.shape},
        fingerprint=f"{_hash(path, array, member)} {image.shape} {request.look}",
        look=request.look,
    )
    count = array.shape[0]
    residency = choose_residency(request.resident, count * int(np.prod(image.shape)), request.workers)
    return Dataset(
        spec=DataSpec(name=request.name, tables={"images": Table(fields=fields, count=count)}),
        splits={"train": {"images": count}},
        read=lambda _table, _split: read_rows(decoder, labels, residency),
        residency=residency,
        converted={"not square": count} if request.image_size and width != height else {},
    )


def _labels(found: NDArray[Any], count: int, path: Path) -> tuple[NDArray[np.int64], LabelField]:
    if found.ndim == 2 and found.shape[1] > 1 and np.all((found == 0) | (found == 1)) and np.all(found.sum(1) == 1):
        found = found.argmax(1)  # One-hot.
    found = found.reshape(-1) if found.ndim == 2 and found.shape[1] == 1 else found
    if found.shape != (count,):
        shape = " x ".join(map(str, found.shape))
        raise UserError(f"dataset: {str(path)!r} has {count:,} images, but labels of {shape}. Allowed: one for each")
    return numbered(found.tolist(), (), str(path))


def _hash(path: Path, array: Array, member: tuple[int, int] | None) -> str:
    """Returns the hash of an array's values, which are read once.

    Args:
        path: The file.
        array: The array.
        member: In a zip, where its member begins, and its CRC-32.

    Raises:
        OSError: The file cannot be read.
        ValueError: Its checksum is another one.
    """

    def find() -> tuple[Arrays, bool]:
        digest, start = hashlib.blake2b(digest_size=16), array.offset
        crc = 0
        if member is not None:  # Its checksum begins with the header.
            start = member[0]
            with path.open("rb") as file:
                file.seek(start)
                crc = zlib.crc32(file.read(array.offset - start))
        for part in _parts(array):
            digest.update(part)
            crc = zlib.crc32(part, crc)
        if member is not None and crc != member[1]:
            raise ValueError("the checksum (CRC-32) of its images is wrong")
        return {"digest": np.frombuffer(digest.digest(), np.uint8)}, True

    found = Remembered("array", f"{path} {array.offset}").once(stamp_of(path), find)
    return found["digest"].tobytes().hex()


def _parts(array: Array) -> Iterator[bytes]:
    starts = range(0, array.size, _PART)
    parts = (array.read(start, min(_PART, array.size - start)) for start in starts)
    if array.size < 1 << 30:
        return parts
    return progress(parts, len(starts), f"checking {array.path}, once", PlainConsole(stderr=True))


npy_file = DataSource(api=1, open=open_npy, path="FILE")
"""npy:FILE, images in an array of numpy, uint8 of N x H x W x C."""
npz_file = DataSource(api=1, open=open_npz, path="FILE", columns=True)
"""npz:FILE, images (arr_0) and labels (arr_1) in a file of numpy, such as the samples of `gan_core sample`."""
