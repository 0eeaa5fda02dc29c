"""A folder of images as a data set. Every file is checked, and problems are reported, before training."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TypeVar

import torch

from gan_core.data.dataset import RESIDENT_BYTES, Dataset, ResidentRows, Rows
from gan_core.data.folder_files import Problems, describe, list_files
from gan_core.data.image_files import Header, StreamedRows, decode, read_files, read_header
from gan_core.data.source import DataRequest, DataSource
from gan_core.errors import UserError
from gan_core.game.data_spec import DataSpec

T = TypeVar("T")

# Channels of Pillow's modes; None where the user must choose.
_CHANNELS = {"1": 1, "L": 1, "RGB": 3, "YCbCr": 3, "CMYK": 3, "LA": None, "P": None, "PA": None, "RGBA": None}


def open_folder(root: Path, *, image_size: int | None, channels: int | None, skip_bad: bool = False) -> Dataset:
    """Describes the images below `root`; its subfolders are classes, in alphabetical order.

    Images that are not all square and of one size need `image_size`: they are cropped to their centre and resized.
    Images that are not all grey or all RGB need `channels`; transparent images are composited on white.

    Args:
        root: The folder.
        image_size: Pixels a side, or None.
        channels: 1, 3 or None.
        skip_bad: Whether to leave out what is not a readable image; then every file is decoded now.

    Raises:
        UserError: A file is not a readable image, a class is empty, or `image_size` or `channels` is needed.
    """
    found = list_files(root)
    labels, problems = found.labels, found.problems
    count = len(labels) + len(problems)
    headers = read_files(read_header, labels, problems)
    for path, header in headers.items():
        if header.mode not in _CHANNELS:
            problems[path] = f"its mode is {header.mode}; allowed: {', '.join(_CHANNELS)}"
    if problems or skip_bad:  # All problems at once, also those that only decoding finds.
        rest = [path for path in labels if path not in problems]
        read_files(partial(_check, image_size=image_size or 4, channels=channels or 3), rest, problems)
    if problems and not skip_bad:
        raise UserError(describe(problems, count))
    files = [path for path in labels if path not in problems]
    targets = None if not found.classes else torch.tensor([labels[path] for path in files], dtype=torch.int64)
    for label, folder in enumerate(found.classes):
        if targets is None or label not in targets:
            raise UserError(f"dataset: the class folder {str(folder)!r} has no image that can be used")
    if not files:
        raise UserError(describe(problems, count))
    good = [headers[path] for path in files]
    size = image_size or _common_size(good)
    depth = _common_channels(good) if channels is None else channels
    spec = DataSpec.of_images(
        name=f"folder:{root}",
        image_size=size,
        channels=depth,
        classes=len(found.classes),
        count=len(files),
        class_names=tuple(folder.name for folder in found.classes),
    )

    to_tensor = partial(decode, image_size=size, channels=depth)

    def read(table: str, split: str) -> Rows:
        del table, split  # A folder has only one of each.
        labels = {} if targets is None else {"labels": targets}
        if len(files) * depth * size * size <= RESIDENT_BYTES:
            return ResidentRows({"images": torch.stack(_all(to_tensor, files)), **labels})
        _all(partial(_check, image_size=size, channels=depth), files)
        return StreamedRows({"images": files}, labels, {"images": to_tensor})

    return Dataset(spec=spec, splits={"train": {"images": len(files)}}, read=read, skipped=len(problems))


def _check(path: Path, image_size: int, channels: int) -> None:
    """Decodes a file, to find out whether that is possible."""
    decode(path, image_size, channels)


def _all(work: Callable[[Path], T], files: list[Path]) -> list[T]:
    """Returns the results for all files.

    Raises:
        UserError: It failed for some files.
    """
    problems: Problems = {}
    done = read_files(work, files, problems)
    if problems:
        raise UserError(describe(problems, len(files)))
    return list(done.values())


def _common_size(headers: list[Header]) -> int:
    """Returns the side in pixels that all images share."""
    first = headers[0]
    for header in headers:
        width, height = header.size
        if width != height or header.size != first.size:
            what = "not square" if width != height else f"but {first.path} is {first.size[0]} x {first.size[1]}"
            raise UserError(
                f"dataset: {header.path} is {width} x {height} pixels, {what}: "
                "pass --image-size, to which each image is cropped at its centre and resized"
            )
    return first.size[0]


def _common_channels(headers: list[Header]) -> int:
    """Returns the channels that all images share."""
    first = headers[0]
    for header in headers:
        if _CHANNELS[header.mode] is None or _CHANNELS[header.mode] != _CHANNELS[first.mode]:
            what = f"has the mode {header.mode}" + ("" if header is first else f", and {first.path} has {first.mode}")
            raise UserError(
                f"dataset: {header.path} {what}: pass --channels 1 (grey) or --channels 3 (RGB); "
                "transparent images are composited on white"
            )
    return _CHANNELS[first.mode] or 1


def _open(request: DataRequest) -> Dataset:
    return open_folder(
        Path(request.path).expanduser(),
        image_size=request.image_size,
        channels=request.channels,
        skip_bad=request.skip_bad,
    )


folder = DataSource(api=1, open=_open, path="PATH")
