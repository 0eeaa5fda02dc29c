"""What lies in a folder of images: every file is read, hashed and decoded once. Nothing here imports torch."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from io import BytesIO
from itertools import islice
from pathlib import Path

import numpy as np
from PIL import ExifTags, Image, UnidentifiedImageError

from gan_core.data.pixels import CHANNELS, is_deep
from gan_core.data.pool import in_processes

_CHUNK = 256
"""Files that a process is given at a time."""
_ALONE = 2000
"""Up to so many files are read by this process: others would take as long to start."""
_DIGEST = 16
_ORIENTATION, _TURNED = ExifTags.Base.Orientation, (5, 6, 7, 8)


@dataclass(frozen=True, slots=True)
class Found:
    """One file: what it is, or why it cannot be used.

    Attributes:
        digest: BLAKE2b hash of its content, 16 bytes.
        size: (width, height) in pixels.
        mode: Pillow's mode.
        kind: Its format, such as "PNG".
        deep: Whether it has 16 bits per channel.
        transparent: Whether it has transparency.
        problem: Why it cannot be used; "" if it can.
    """

    digest: bytes = b""
    size: tuple[int, int] = (0, 0)
    mode: str = ""
    kind: str = ""
    deep: bool = False
    transparent: bool = False
    problem: str = ""


@dataclass
class Survey:
    """All files together. Its size depends on the number of files only by their digests, 16 bytes each.

    Attributes:
        sizes: How many images have each (width, height).
        modes: How many have each of Pillow's modes.
        kinds: How many have each format.
        classes: How many images each class has, by its number; None where there are no classes.
        deep: How many have 16 bits per channel.
        transparent: How many have transparency.
        problems: Files that cannot be used, by their number, and why.
        digests: The digests of all files, one after the other.
    """

    sizes: Counter[tuple[int, int]] = field(default_factory=Counter)
    modes: Counter[str] = field(default_factory=Counter)
    kinds: Counter[str] = field(default_factory=Counter)
    classes: Counter[int | None] = field(default_factory=Counter)
    deep: int = 0
    transparent: int = 0
    problems: dict[int, str] = field(default_factory=dict)
    digests: bytearray = field(default_factory=bytearray)

    def __len__(self) -> int:
        return len(self.digests) // _DIGEST

    def add(self, found: Found, label: int | None) -> None:
        """Adds the next file."""
        if found.problem:
            self.problems[len(self)] = found.problem
        else:
            self.sizes[found.size] += 1
            self.modes[found.mode] += 1
            self.kinds[found.kind] += 1
            self.classes[label] += 1
            self.deep += found.deep
            self.transparent += found.transparent
        self.digests += found.digest.ljust(_DIGEST, b"\0")

    def repeated(self) -> list[list[int]]:
        """Returns the numbers of usable files that have the same content, a list for each content."""
        return repeated(self.digests, set(self.problems))


def repeated(digests: bytes | bytearray, left_out: set[int] | frozenset[int] = frozenset()) -> list[list[int]]:
    """Returns the numbers of equal digests of 16 bytes, a list for each that occurs more than once, in order."""
    _, kinds, counts = np.unique(np.frombuffer(digests, f"S{_DIGEST}"), return_inverse=True, return_counts=True)
    groups: dict[int, list[int]] = {}
    for number in np.flatnonzero(counts[kinds] > 1).tolist():
        if number not in left_out:
            groups.setdefault(int(kinds[number]), []).append(number)
    return [group for group in groups.values() if len(group) > 1]


def surveyed(files: Sequence[Path], labels: Iterable[int | None], survey: Survey) -> Iterator[None]:
    """Reads all files into `survey`, and yields after each."""
    chunks = _chunks(map(str, files))
    results = map(_examine_all, chunks) if len(files) <= _ALONE else in_processes(_examine_all, chunks)
    for found, label in zip((one for chunk in results for one in chunk), labels, strict=True):
        survey.add(found, label)
        yield


def _chunks(paths: Iterator[str]) -> Iterator[list[str]]:
    while chunk := list(islice(paths, _CHUNK)):
        yield chunk


def _examine_all(paths: list[str]) -> list[Found]:
    return [examine(path) for path in paths]


def examine(path: str) -> Found:
    """Reads and decodes one file."""
    digest = b""
    try:
        content = Path(path).read_bytes()
        digest = blake2b(content, digest_size=_DIGEST).digest()
        with Image.open(BytesIO(content)) as image:
            width, height = image.size
            # Of a TIFF, Pillow gives the size after the orientation.
            if "exif" in image.info and image.format != "TIFF" and image.getexif().get(_ORIENTATION) in _TURNED:
                width, height = height, width
            deep, transparent = is_deep(image), image.has_transparency_data
            mode, kind = image.mode, image.format or "unknown"
            if mode not in CHANNELS:
                return Found(digest, problem=f"its mode is {mode}; allowed: {', '.join(CHANNELS)}")
            image.load()
            return Found(digest, (width, height), mode, kind, deep, transparent)
    except UnidentifiedImageError:
        return Found(digest, problem="not an image")
    except Exception as error:  # Pillow's decoders raise all kinds.
        return Found(digest, problem=str(error) or type(error).__name__)
