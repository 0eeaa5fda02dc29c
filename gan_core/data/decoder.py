"""Rows that are decoded one by one, in this process or in worker processes. Nothing here imports torch."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from gan_core.data.checked import Checked
from gan_core.data.pictures import Half, decode
from gan_core.data.pixels import DEFAULT_LOOK, Look
from gan_core.data.stored import Stored


class Decoder(Protocol):
    """The images of a table, each row made when it is asked for.

    It is sent to worker processes without pickle, so it is a dataclass whose class can be imported, of plain values and
    arrays: see `gan_core.data.sent`. Its arrays are read-only there. Workers start faster if its module imports no
    torch.
    """

    @property
    def shapes(self) -> Mapping[str, tuple[int, int, int]]:
        """The shape (C, H, W) of each image field."""

    @property
    def fingerprint(self) -> str:
        """A hash that changes when the images do."""

    def __len__(self) -> int:
        """The number of rows."""

    def decode(self, index: int) -> Mapping[str, NDArray[np.uint8]]:
        """Returns the images of a row, (C, H, W) uint8 by field. Raises any error if that is not possible."""

    def name(self, index: int) -> str:
        """Returns what a row is called in errors, such as the path of its file."""


@dataclass(frozen=True, kw_only=True)
class ImageColumn:
    """The pictures of one image field: one for each row.

    Attributes:
        checked: The pictures of the whole data set.
        at: The number of each row's picture, (N,) int64.
        shape: (C, H, W) to which they are decoded.
        half: The part of each picture that is the image.
        look: How they are converted otherwise.
    """

    checked: Checked
    at: NDArray[np.int64]
    shape: tuple[int, int, int]
    half: Half = ""
    look: Look = DEFAULT_LOOK


@dataclass(frozen=True, kw_only=True)
class StoredImages:
    """Rows of stored pictures.

    Attributes:
        shapes: (C, H, W) of each image field.
        fingerprint: A hash of the pictures and of how they are decoded.
        pictures: Of each field, the pictures of the whole data set, the number of each row's picture, the part of it
            that is the image, and how it is converted otherwise.
    """

    shapes: dict[str, tuple[int, int, int]]
    fingerprint: str
    pictures: dict[str, tuple[Stored, NDArray[np.int64], Half, Look]]

    @classmethod
    def of(cls, columns: Mapping[str, ImageColumn]) -> "StoredImages":
        """Takes the pictures of each image field."""
        return cls(
            shapes={name: column.shape for name, column in columns.items()},
            fingerprint=_fingerprint(columns),
            pictures={
                name: (column.checked.stored, column.at, column.half, column.look) for name, column in columns.items()
            },
        )

    def __len__(self) -> int:
        return len(next(iter(self.pictures.values()))[1])

    def decode(self, index: int) -> dict[str, NDArray[np.uint8]]:
        """Reads and decodes the pictures of a row."""
        images = {}
        for name, (stored, at, half, look) in self.pictures.items():
            with stored.open(stored.read(int(at[index]))) as image:
                images[name] = decode(image, self.shapes[name], half, look)
        return images

    def name(self, index: int) -> str:
        """Returns the name of the first picture of a row."""
        stored, at, *_ = next(iter(self.pictures.values()))
        return stored.names[int(at[index])]


def _fingerprint(columns: Mapping[str, ImageColumn]) -> str:
    """Returns the sha256 of the encoded bytes of all pictures, by their hashes, and of how they are decoded."""
    digest = hashlib.sha256()
    for name, column in columns.items():
        digest.update(f"{name} {column.shape} {column.half} {column.look} ".encode())
        digest.update(np.ascontiguousarray(column.checked.headers["digest"][column.at]).data)
    return digest.hexdigest()


def row_bytes(decoder: Decoder) -> int:
    """Returns the bytes of a decoded row."""
    return sum(_size(shape) for shape in decoder.shapes.values())


def fields_of(decoder: Decoder, rows: NDArray[Any]) -> dict[str, NDArray[np.uint8]]:
    """Returns decoded rows (N, row_bytes) uint8 by field, each (N, C, H, W), in the same memory."""
    found, start = {}, 0
    for name, shape in decoder.shapes.items():
        found[name] = rows[:, start : start + _size(shape)].reshape(len(rows), *shape)
        start += _size(shape)
    return found


def _size(shape: tuple[int, int, int]) -> int:
    return shape[0] * shape[1] * shape[2]
