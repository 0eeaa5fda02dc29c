"""Pictures where they are stored: in files, or as members of a larger file. Nothing here imports torch."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from gan_core.data.names import Names


class Stored(ABC):
    """Pictures that are read one by one, by number. Subclasses are dataclasses, which can be sent to worker processes.

    Attributes:
        place: Where they lie, an absolute path: what is known of them is remembered under it.
        names: Their names, for messages.
        stamps: Size in bytes and time of last change in nanoseconds of the file of each, (N, 2) int64: what is
            remembered of a picture holds as long as they do.
    """

    place: str
    names: Names
    stamps: NDArray[np.int64]

    @abstractmethod
    def read(self, at: int) -> bytes:
        """Returns the bytes of a picture. Raises any error if they cannot be read."""

    def open(self, content: bytes) -> Image.Image:
        """Returns the picture that has these bytes, not decoded yet. Raises any error if it is none."""
        return Image.open(BytesIO(content))


@dataclass
class StoredFiles(Stored):
    """Each picture is a file of its own; its name is its path."""

    place: str
    names: Names
    stamps: NDArray[np.int64]

    def read(self, at: int) -> bytes:
        """Returns the content of a file."""
        return Path(self.names[at]).read_bytes()
