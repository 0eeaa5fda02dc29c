"""Image files: decoding with an error per file, and streaming for data sets that do not fit in memory."""

import hashlib
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from PIL import Image, ImageOps, UnidentifiedImageError
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from gan_core.cores import usable_cores
from gan_core.data.dataset import RealBatch
from gan_core.data.folder_files import Problems
from gan_core.transfer import to_device

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Header:
    """The header of an image file, read without decoding pixels: (width, height) and Pillow's mode."""

    path: Path
    size: tuple[int, int]
    mode: str


def read_header(path: Path) -> Header:
    """Reads size and mode."""
    with Image.open(path) as image:
        return Header(path, image.size, image.mode)


def decode(path: Path, image_size: int, channels: int) -> Tensor:
    """Decodes one file to (C, H, W) uint8.

    Applies the EXIF orientation, composites transparent images on white, crops to the centre, and resizes (bicubic).
    """
    with Image.open(path) as opened:
        image = ImageOps.exif_transpose(opened)
        if image.has_transparency_data:
            image = image.convert("RGBA")
            image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
        image = image.convert("L" if channels == 1 else "RGB")
        if image.size != (image_size, image_size):
            image = ImageOps.fit(image, (image_size, image_size), Image.Resampling.BICUBIC)
        return torch.from_numpy(np.array(image).reshape(image_size, image_size, channels)).permute(2, 0, 1).contiguous()


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


class StreamedImages:
    """Images that DataLoader workers decode in the requested order."""

    def __init__(self, files: list[Path], labels: Tensor | None, to_tensor: Callable[[Path], Tensor]) -> None:
        self.files, self.labels, self.to_tensor = files, labels, to_tensor
        self.device = torch.device("cpu")

    @property
    def fingerprint(self) -> str:
        """sha256 of the files' names and sizes, and of their labels."""
        labels = [] if self.labels is None else self.labels.tolist()
        lines = [f"{path.name} {path.stat().st_size}" for path in self.files]
        return hashlib.sha256("\n".join([str(labels), *lines]).encode()).hexdigest()

    def to(self, device: torch.device) -> "StreamedImages":
        """Sends every batch to the device from now on."""
        self.device = device
        return self

    def batches(self, indices: Iterable[list[int]]) -> Iterator[RealBatch]:
        """Decodes the images at each list of indices, a few batches ahead."""
        loader = DataLoader(
            _Decoded(self.files, self.to_tensor),
            batch_sampler=_IndexBatches(indices),
            num_workers=min(2, usable_cores()),
            pin_memory=self.device.type == "cuda",
        )
        for images, at in loader:
            labels = None if self.labels is None else to_device(self.labels[at], self.device)
            yield to_device(images, self.device), labels


class _Decoded(Dataset[tuple[Tensor, int]]):
    def __init__(self, files: list[Path], to_tensor: Callable[[Path], Tensor]) -> None:
        self.files, self.to_tensor = files, to_tensor

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return self.to_tensor(self.files[index]), index


class _IndexBatches(Sampler[list[int]]):
    """Adapts lists of indices to DataLoader's batch_sampler."""

    def __init__(self, indices: Iterable[list[int]]) -> None:
        self.indices = indices

    def __iter__(self) -> Iterator[list[int]]:
        return iter(self.indices)
