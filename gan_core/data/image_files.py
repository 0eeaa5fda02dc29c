"""Image files: decoding with an error per file, and streaming for data sets that do not fit in memory."""

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeVar

import numpy as np
import torch
from PIL import ExifTags, Image, UnidentifiedImageError
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from gan_core.cores import usable_cores
from gan_core.data.dataset import RealRows
from gan_core.data.folder_files import Problems
from gan_core.data.pixels import DEFAULT_LOOK, Look, fitted, is_deep, plain
from gan_core.game.data_spec import ImageField
from gan_core.transfer import to_device

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Header:
    """The header of an image file, read without decoding pixels.

    Attributes:
        path: The file.
        size: (width, height) in pixels.
        mode: Pillow's mode.
        deep: Whether it has 16 bits per channel.
        transparent: Whether it has transparency.
    """

    path: Path
    size: tuple[int, int]
    mode: str
    deep: bool = False
    transparent: bool = False


def read_header(path: Path) -> Header:
    """Reads the mode, and the size that the image has once its EXIF orientation is applied."""
    with Image.open(path) as image:
        width, height = image.size
        # Of a TIFF, Pillow gives the size after the orientation.
        turned = "exif" in image.info and image.format != "TIFF" and image.getexif().get(_ORIENTATION) in _TURNED
        size = (height, width) if turned else (width, height)
        return Header(path, size, image.mode, is_deep(image), image.has_transparency_data)


_ORIENTATION, _TURNED = ExifTags.Base.Orientation, (5, 6, 7, 8)
"""The EXIF tag, and its values with which width and height are exchanged."""


Half = Literal["", "left", "right"]
"""The part of a file that an image is: all of it, or one half, where two images of a pair lie side by side."""


def decode(path: Path, field: ImageField, half: Half = "", look: Look = DEFAULT_LOOK) -> Tensor:
    """Decodes one file to (C, H, W) uint8, the shape of `field`.

    Applies the EXIF orientation, scales 16 bits to 8, composites transparent images on a colour, crops or squeezes, and
    resizes (bicubic).
    """
    with Image.open(path) as opened:
        image = plain(opened, look)
        if half:
            middle = image.width // 2
            image = image.crop(
                (0 if half == "left" else middle, 0, middle if half == "left" else 2 * middle, image.height)
            )
        image = fitted(image.convert("L" if field.channels == 1 else "RGB"), (field.width, field.height), look)
        return torch.from_numpy(np.array(image).reshape(field.height, field.width, -1)).permute(2, 0, 1).contiguous()


def read_files(work: Callable[[Path], T], files: Iterable[Path], problems: Problems) -> dict[Path, T]:
    """Applies `work` to every file, in threads, and returns the results in order.

    A file for which it fails is added to `problems`, with any error: Pillow's decoders raise all kinds.
    """

    def attempt(path: Path) -> list[tuple[Path, T]]:
        try:
            return [(path, work(path))]
        except UnidentifiedImageError:
            problems[path] = "not an image"
        except Exception as error:
            problems[path] = str(error) or type(error).__name__
        return []

    with ThreadPoolExecutor() as pool:
        return dict(result for results in pool.map(attempt, files) for result in results)


class StreamedRows:
    """Rows whose images DataLoader workers decode in the requested order."""

    def __init__(
        self,
        files: Mapping[str, list[Path]],
        labels: Mapping[str, Tensor],
        decoders: Mapping[str, Callable[[Path], Tensor]],
    ) -> None:
        """Takes the files of each image field, the label fields, and what decodes a file of a field to (C, H, W)."""
        self.files, self.labels, self.decoders = files, labels, decoders
        self.device = torch.device("cpu")

    @property
    def fingerprint(self) -> str:
        """sha256 of the files' names and sizes, and of the labels."""
        labels = [number for column in self.labels.values() for number in column.tolist()]
        lines = [f"{path.name} {path.stat().st_size}" for files in self.files.values() for path in files]
        return hashlib.sha256("\n".join([str(labels), *lines]).encode()).hexdigest()

    def to(self, device: torch.device) -> "StreamedRows":
        """Sends every batch to the device from now on."""
        self.device = device
        return self

    def batches(self, indices: Iterable[list[int]]) -> Iterator[RealRows]:
        """Decodes the rows at each list of indices, a few batches ahead."""
        loader = DataLoader(
            _Decoded(self),
            batch_sampler=_IndexBatches(indices),
            num_workers=min(2, usable_cores()),
            pin_memory=self.device.type == "cuda",
        )
        for rows in loader:
            yield {name: to_device(column, self.device) for name, column in rows.items()}


class _Decoded(Dataset[dict[str, Tensor]]):
    def __init__(self, rows: StreamedRows) -> None:
        self.files, self.labels, self.decoders = rows.files, rows.labels, rows.decoders

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        images = {name: self.decoders[name](files[index]) for name, files in self.files.items()}
        return images | {name: column[index] for name, column in self.labels.items()}


class _IndexBatches(Sampler[list[int]]):
    """Adapts lists of indices to DataLoader's batch_sampler."""

    def __init__(self, indices: Iterable[list[int]]) -> None:
        self.indices = indices

    def __iter__(self) -> Iterator[list[int]]:
        return iter(self.indices)
