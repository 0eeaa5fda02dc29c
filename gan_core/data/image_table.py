"""A table of images in files: every file is checked, and problems are reported, before training."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TypeVar

import torch
from torch import Tensor

from gan_core.data.dataset import RESIDENT_BYTES, ResidentRows, Rows
from gan_core.data.folder_files import Problems, describe
from gan_core.data.image_files import Half, Header, StreamedRows, decode, read_files, read_header
from gan_core.data.pixels import CHANNELS, DEFAULT_LOOK, Look
from gan_core.data.source import DataRequest
from gan_core.errors import UserError
from gan_core.game.data_spec import ImageField

T = TypeVar("T")


def usable(
    files: Sequence[Path], problems: Problems, request: DataRequest, *, side_by_side: bool = False
) -> dict[Path, Header]:
    """Returns the headers of the files that can be used, in order; adds the others to `problems`.

    Args:
        files: The files.
        problems: What is known already not to be an image.
        request: With `skip_bad`, every file is decoded now.
        side_by_side: Whether each file has two images of equal width.

    Raises:
        UserError: There are problems, and `skip_bad` is off; or no file is left.
    """
    count = len(files) + len(problems)
    headers = read_files(read_header, files, problems)
    for path, header in headers.items():
        if header.mode not in CHANNELS:
            problems[path] = f"its mode is {header.mode}; allowed: {', '.join(CHANNELS)}"
        elif side_by_side and header.size[0] % 2:
            problems[path] = f"is {header.size[0]} pixels wide, but two images side by side have an even width"
    if problems or request.skip_bad:  # All problems at once, also those that only decoding finds.
        side = request.image_size or 4
        shape = ImageField(channels=request.channels or 3, height=side, width=side)
        read_files(partial(decode, field=shape), [path for path in files if path not in problems], problems)
    left = {path: headers[path] for path in files if path not in problems}
    if (problems and not request.skip_bad) or not left:
        raise UserError(describe(problems, count))
    return left


def check_not_empty(root: Path, parts: Mapping[str, Sequence[Path]]) -> None:
    """Raises an error if a part of a data set has no file left.

    Args:
        root: The folder of the data set.
        parts: The files that can be used, by the name of the part, such as "train".

    Raises:
        UserError: One has none.
    """
    for part, files in parts.items():
        if not files:
            raise UserError(f"dataset: {str(root)!r} has no image that can be used in {part}")


def common_field(headers: Sequence[Header], request: DataRequest, half: Half = "") -> ImageField:
    """Returns the shape of images, as the request has it, or else the one that they share.

    Raises:
        UserError: They differ in size or colour, and the request does not say what they become.
    """
    first = headers[0]
    if request.image_size is None:
        for header in headers:
            if header.size != first.size:
                raise UserError(
                    f"dataset: {header.path} is {header.size[0]} x {header.size[1]} pixels, but {first.path} is "
                    f"{first.size[0]} x {first.size[1]}: pass --image-size, to which each image is cropped at its "
                    "centre and resized"
                )
    width, height = (request.image_size, request.image_size) if request.image_size else first.size
    if half and not request.image_size:
        width //= 2
    return ImageField(channels=request.channels or _common_channels(headers), height=height, width=width)


def _common_channels(headers: Sequence[Header]) -> int:
    first = headers[0]
    for header in headers:
        if CHANNELS[header.mode] is None or CHANNELS[header.mode] != CHANNELS[first.mode]:
            what = f"has the mode {header.mode}" + ("" if header is first else f", and {first.path} has {first.mode}")
            raise UserError(
                f"dataset: {header.path} {what}: pass --channels 1 (grey) or --channels 3 (RGB); "
                "transparent images are composited on --background"
            )
    return CHANNELS[first.mode] or 1


def conversions(headers: Iterable[Header], request: DataRequest, *, side_by_side: bool = False) -> dict[str, int]:
    """Returns `Dataset.converted` of these files."""
    counted = Counter[str]()
    for header in headers:
        width, height = header.size
        counted["16 bit"] += header.deep
        counted["transparent"] += header.transparent
        counted["not square"] += request.image_size is not None and (width // 2 if side_by_side else width) != height
    return {kind: count for kind, count in counted.items() if count}


@dataclass(frozen=True, kw_only=True)
class ImageColumn:
    """The files of one image field: a file for each row.

    Attributes:
        files: The files.
        field: The shape to which they are decoded.
        half: The part of each file that is the image.
        look: How they are converted otherwise.
    """

    files: Sequence[Path]
    field: ImageField
    half: Half = ""
    look: Look = DEFAULT_LOOK


@dataclass(frozen=True, kw_only=True)
class ImageTable:
    """The rows of one table in one split, not read yet: files by image field, and labels."""

    columns: Mapping[str, ImageColumn]
    labels: Mapping[str, Tensor] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(next(iter(self.columns.values())).files)

    def read(self) -> Rows:
        """Decodes all images, or, where they would not fit in memory, checks that they can be decoded later.

        Raises:
            UserError: Some cannot be decoded.
        """
        decoders = {
            name: partial(decode, field=one.field, half=one.half, look=one.look) for name, one in self.columns.items()
        }
        size = sum(len(one.files) * torch.Size(one.field.shape).numel() for one in self.columns.values())
        if size <= RESIDENT_BYTES:
            decoded = {name: _all(decoders[name], one.files) for name, one in self.columns.items()}
            return ResidentRows({**{name: torch.stack(images) for name, images in decoded.items()}, **self.labels})
        for name, one in self.columns.items():
            _all(partial(_check, decoders[name]), one.files)
        return StreamedRows({name: list(one.files) for name, one in self.columns.items()}, self.labels, decoders)


def _check(decoder: "partial[Tensor]", path: Path) -> None:
    """Decodes a file, to find out whether that is possible."""
    decoder(path)


def _all(work: Callable[[Path], T], files: Sequence[Path]) -> list[T]:
    """Returns the results for all files.

    Raises:
        UserError: It failed for some files.
    """
    problems: Problems = {}
    done = read_files(work, files, problems)
    if problems:
        raise UserError(describe(problems, len(files)))
    return list(done.values())
