"""A data set that is described but not read yet, and its images once they are read."""

import hashlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from gan_core.game.data_spec import DataSpec
from gan_core.transfer import to_device

RESIDENT_BYTES = 2 << 30
"""Up to this size, converted images are kept on the device; above it, images are converted batch by batch."""

RealBatch = tuple[Tensor, Tensor | None]
"""Images (B, C, H, W) uint8 and labels (B,) int64, or None where there are none."""


class Images(Protocol):
    """The images of one split, resident in memory or read from disk on demand."""

    @property
    def labels(self) -> Tensor | None:
        """The classes of all images, (N,) int64, or None where there are none."""

    @property
    def fingerprint(self) -> str:
        """A hash that changes when the data does."""

    def to(self, device: torch.device) -> "Images":
        """Moves resident images and labels to the device."""

    def batches(self, indices: Iterable[list[int]]) -> Iterator[RealBatch]:
        """Yields the images at each list of indices, on the device."""


@dataclass(frozen=True, kw_only=True)
class Dataset:
    """A data set whose shape is known and whose images are not read yet.

    Attributes:
        spec: Its shape, after the requested resizing and colour conversion.
        splits: How many images each split has ("train", and "test" where there is one).
        read: `read(split)` reads the images.
        skipped: How many files of a folder are left out, because they are not readable images.
        channel: The data set from which each channel is taken, where images are stacked (Stacked-MNIST).
    """

    spec: DataSpec
    splits: dict[str, int]
    read: Callable[[str], Images]
    channel: "Dataset | None" = None
    skipped: int = 0


class ResidentImages:
    """Images that are all on the device as uint8 and are gathered there, without a DataLoader."""

    def __init__(self, images: Tensor, labels: Tensor | None, shape: tuple[int, int] | None = None) -> None:
        """Stores images (N, C, H, W) uint8 and labels (N,) int64 or None.

        With `shape`, (image size, channels), images are converted to it each time they are gathered.
        """
        self.images, self.labels, self.shape = images, labels, shape

    @cached_property
    def fingerprint(self) -> str:
        """sha256 of the pixels and the labels."""
        digest = hashlib.sha256(f"{tuple(self.images.shape)} {self.shape}".encode())
        for tensor in (self.images, self.labels):
            if tensor is not None:
                digest.update(tensor.cpu().contiguous().numpy().data)
        return digest.hexdigest()

    def to(self, device: torch.device) -> "ResidentImages":
        """Moves the images and the labels to the device."""
        labels = None if self.labels is None else self.labels.to(device)
        return ResidentImages(self.images.to(device), labels, self.shape)

    def batches(self, indices: Iterable[list[int]]) -> Iterator[RealBatch]:
        """Gathers the images at each list of indices."""
        for chosen in indices:
            at = to_device(torch.tensor(chosen), self.images.device)
            yield self.gather(at), None if self.labels is None else self.labels[at]

    def gather(self, at: Tensor) -> Tensor:
        """Returns the images at indices (B,), converted: (B, C, H, W) uint8."""
        return self.images[at] if self.shape is None else convert(self.images[at], *self.shape)


def convert(images: Tensor, image_size: int, channels: int) -> Tensor:
    """Resizes (bicubic, antialiased) and converts between grey and RGB: (N, C, H, W) uint8 to the given shape."""
    if images.shape[1] == 3 and channels == 1:
        # ITU-R 601 luma, as Pillow computes its mode "L".
        luma = to_device(torch.tensor([0.299, 0.587, 0.114]), images.device).view(1, 3, 1, 1)
        images = torch.cat([(part * luma).sum(1, keepdim=True).round().to(torch.uint8) for part in images.split(1024)])
    if images.shape[-1] != image_size:
        size = (image_size, image_size)
        images = torch.cat(
            [
                F.interpolate(part.float(), size, mode="bicubic", antialias=True).round().clamp(0, 255).to(torch.uint8)
                for part in images.split(1024)
            ]
        )
    return images.repeat(1, 3, 1, 1) if images.shape[1] < channels else images
