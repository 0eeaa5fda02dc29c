"""Images of an array in a file of numpy, read where they lie. Nothing here imports torch."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from gan_core.data.pictures import decode
from gan_core.data.pixels import Look


@dataclass(frozen=True, kw_only=True)
class Array:
    """An array in a file: where its values begin, in C order."""

    path: str
    offset: int
    shape: tuple[int, ...]
    dtype: str

    @property
    def size(self) -> int:
        """Its bytes."""
        return int(np.prod(self.shape, dtype=np.int64)) * np.dtype(self.dtype).itemsize

    def read(self, start: int, size: int) -> bytes:
        """Returns some of its bytes. Raises OSError if the file is cut off."""
        with Path(self.path).open("rb", buffering=0) as file:
            file.seek(self.offset + start)
            content = file.read(size)
        if len(content) < size:
            raise OSError(f"{self.path} is cut off")
        return content


@dataclass(frozen=True, kw_only=True)
class ArrayImages:
    """Rows that are images of an array, in the size and colour that are asked for."""

    array: Array
    layout: tuple[int, int, int]
    """(H, W, C) of the array's images."""
    channels_first: bool
    shapes: dict[str, tuple[int, int, int]]
    fingerprint: str
    look: Look

    def __len__(self) -> int:
        return self.array.shape[0]

    def decode(self, index: int) -> dict[str, NDArray[np.uint8]]:
        """Reads an image, and resizes it and changes its colour if need be."""
        height, width, channels = self.layout
        size = height * width * channels
        image = np.frombuffer(self.array.read(index * size, size), np.uint8)
        image = image.reshape((channels, height, width) if self.channels_first else self.layout)
        image = image if self.channels_first else image.transpose(2, 0, 1)
        if (wanted := self.shapes["images"]) != image.shape:
            pixels = np.ascontiguousarray(image.transpose(1, 2, 0))
            image = decode(Image.fromarray(pixels[:, :, 0] if channels == 1 else pixels), wanted, look=self.look)
        return {"images": image}

    def name(self, index: int) -> str:
        """Returns the file and the number of the image."""
        return f"{self.array.path}: image {index}"
