"""A data set that is described but not read yet, and the rows of its tables once they are read."""

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Protocol

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from gan_core.data.decoder import Decoder
from gan_core.data.residency import RESIDENT_BYTES, Residency
from gan_core.game.data_spec import DataSpec, Field, ImageField, LabelField, Table
from gan_core.transfer import to_device

Indices = Sequence[int] | NDArray[np.int64]
"""The numbers of rows."""

RealRows = Mapping[str, Tensor]
"""B rows by field: images (B, C, H, W) uint8 and labels (B,) int64."""


class Rows(Protocol):
    """The rows of one table in one split, resident in memory or read from disk on demand."""

    @property
    def labels(self) -> Mapping[str, Tensor]:
        """The label fields of all rows, (N,) int64."""

    @property
    def fingerprint(self) -> str:
        """A hash that changes when the data does."""

    def to(self, device: torch.device) -> "Rows":
        """Moves resident rows to the device."""

    def batches(self, indices: Iterable[Indices]) -> Iterator[RealRows]:
        """Yields the rows at each list of indices, on the device."""


@dataclass(frozen=True, kw_only=True)
class Dataset:
    """A data set whose properties are known and whose rows are not read yet.

    Attributes:
        spec: Its tables and fields, after the requested resizing and colour conversion.
        splits: How many rows each table has in each split: `splits["test"]["images"]`. Every data set has "train".
        read: `read(table, split)` reads the rows of a table.
        skipped: How many files are left out, because they are not readable images.
        left_out: The first of those files, and why: a line for each, and how many more there are.
        converted: How many files have "16 bit" channels, which are scaled to 8, are "transparent" and are laid on a
            colour, or are "not square" and are cropped or squeezed.
        residency: Where images are kept; None if always in memory.
        channel: The data set from which each channel is taken, where images are stacked (Stacked-MNIST).
    """

    spec: DataSpec
    splits: Mapping[str, Mapping[str, int]]
    read: Callable[[str, str], Rows]
    channel: "Dataset | None" = None
    skipped: int = 0
    left_out: Sequence[str] = ()
    converted: Mapping[str, int] = field(default_factory=dict)
    residency: Residency | None = None

    def table_of(self, name: str) -> str:
        """Returns the name of the table that has the field `name`."""
        return next(table for table, described in self.spec.tables.items() if name in described.fields)

    def images_of(self, name: str) -> "Dataset":
        """Returns the image field `name` as a data set of its own, of one table with the fields `images` and `labels`.

        It has labels if the field's table does.
        """
        if name == "images" and list(self.spec.tables) == ["images"]:
            return self
        table = self.table_of(name)
        described = self.spec.tables[table]
        fields: dict[str, Field] = {"images": described.fields[name]}
        if (labels := described.fields.get("labels")) is not None:
            fields["labels"] = labels
        return replace(
            self,
            spec=DataSpec(
                name=f"{self.spec.name} ({name})", tables={"images": Table(fields=fields, count=described.count)}
            ),
            splits={split: {"images": counts[table]} for split, counts in self.splits.items() if table in counts},
            read=lambda _, split: OneField(self.read(table, split), name),
        )


@dataclass(frozen=True)
class OneField:
    """Rows whose field `name` is called `images`."""

    rows: Rows
    name: str

    @property
    def labels(self) -> Mapping[str, Tensor]:
        """The label fields of all rows, (N,) int64."""
        return self.rows.labels

    @property
    def fingerprint(self) -> str:
        """The table's hash."""
        return self.rows.fingerprint

    def to(self, device: torch.device) -> "OneField":
        """Moves the rows."""
        return OneField(self.rows.to(device), self.name)

    def batches(self, indices: Iterable[Indices]) -> Iterator[RealRows]:
        """Yields the field and the labels at each list of indices."""
        for batch in self.rows.batches(indices):
            yield {"images": batch[self.name], **{key: batch[key] for key in self.rows.labels}}


@dataclass(frozen=True)
class ResidentRows:
    """Rows that are all on the device, images as uint8, and are gathered there, without a DataLoader.

    Attributes:
        columns: The fields of all rows: images (N, C, H, W) uint8 and labels (N,) int64.
        converted: Image fields that are resized or change colour each time they are gathered, because all of them
            would not fit: the shape (C, H, W) to convert to.
        known_fingerprint: The fingerprint, where it is known without the pixels; "" where it is not.
    """

    columns: Mapping[str, Tensor]
    converted: Mapping[str, tuple[int, int, int]] = field(default_factory=dict)
    known_fingerprint: str = ""

    @property
    def labels(self) -> Mapping[str, Tensor]:
        """The label fields of all rows, (N,) int64."""
        return {name: column for name, column in self.columns.items() if column.ndim == 1}

    @cached_property
    def fingerprint(self) -> str:
        """sha256 of the pixels and the labels, or what is known instead."""
        if self.known_fingerprint:
            return self.known_fingerprint
        images = {name: column for name, column in self.columns.items() if column.ndim > 1}
        header = " ".join(f"{tuple(column.shape)} {self.converted.get(name)}" for name, column in images.items())
        digest = hashlib.sha256(header.encode())
        for column in self.columns.values():
            digest.update(column.cpu().contiguous().numpy().data)
        return digest.hexdigest()

    def to(self, device: torch.device) -> "ResidentRows":
        """Moves the columns to the device."""
        return replace(self, columns={name: column.to(device) for name, column in self.columns.items()})

    def batches(self, indices: Iterable[Indices]) -> Iterator[RealRows]:
        """Gathers the rows at each list of indices."""
        device = next(iter(self.columns.values())).device
        for chosen in indices:
            yield self.gather(to_device(torch.as_tensor(np.asarray(chosen)), device))

    def gather(self, at: Tensor) -> RealRows:
        """Returns the rows at indices (B,), converted."""
        return {
            name: convert(column[at], self.converted[name]) if name in self.converted else column[at]
            for name, column in self.columns.items()
        }


def fingerprint_of(decoder: Decoder, labels: Mapping[str, Tensor]) -> str:
    """Returns the sha256 of the fingerprint of images and of the labels: the same for resident and streamed rows."""
    digest = hashlib.sha256(decoder.fingerprint.encode())
    for name, column in labels.items():
        digest.update(f" {name} ".encode())
        digest.update(column.cpu().contiguous().numpy().data)
    return digest.hexdigest()


def resident(fields: Mapping[str, Field], columns: Mapping[str, Tensor]) -> ResidentRows:
    """Returns rows as `fields` describes them: converted now if they fit in `RESIDENT_BYTES`, else when gathered.

    Args:
        fields: The fields of the table.
        columns: All rows by field: images (N, C, H, W) uint8 of any size, and labels (N,) int64.
    """
    size = sum(len(columns[name]) * _bytes(field) for name, field in fields.items())
    shapes = {name: field.shape for name, field in fields.items() if isinstance(field, ImageField)}
    if size > RESIDENT_BYTES:
        return ResidentRows(columns, shapes)
    return ResidentRows(
        {name: convert(column, shapes[name]) if name in shapes else column for name, column in columns.items()}
    )


def _bytes(field: Field) -> int:
    return 0 if isinstance(field, LabelField) else field.channels * field.height * field.width


def convert(images: Tensor, shape: tuple[int, int, int]) -> Tensor:
    """Resizes (bicubic, antialiased) and converts between grey and RGB: (N, C, H, W) uint8 to (N, *shape)."""
    channels, *size = shape
    if images.shape[1] == 3 and channels == 1:
        # ITU-R 601 luma, as Pillow computes its mode "L".
        luma = to_device(torch.tensor([0.299, 0.587, 0.114]), images.device).view(1, 3, 1, 1)
        images = torch.cat([(part * luma).sum(1, keepdim=True).round().to(torch.uint8) for part in images.split(1024)])
    if list(images.shape[2:]) != size:
        images = torch.cat(
            [
                F.interpolate(part.float(), size, mode="bicubic", antialias=True).round().clamp(0, 255).to(torch.uint8)
                for part in images.split(1024)
            ]
        )
    return images.repeat(1, 3, 1, 1) if images.shape[1] < channels else images
