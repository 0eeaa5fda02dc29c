"""A folder of images as a data set. Every file is checked, and problems are reported, before training."""

from functools import partial
from pathlib import Path

import torch

from gan_core.data.dataset import RESIDENT_BYTES, Dataset, Images, ResidentImages
from gan_core.data.image_files import Header, StreamedImages, decode, map_files, read_header
from gan_core.errors import UserError
from gan_core.game.data_spec import DataSpec

# Channels of Pillow's modes; None where the user must choose.
_CHANNELS = {"1": 1, "L": 1, "RGB": 3, "YCbCr": 3, "CMYK": 3, "LA": None, "P": None, "PA": None, "RGBA": None}


def open_folder(root: Path, *, image_size: int | None, channels: int | None) -> Dataset:
    """Describes the images below `root`; its subfolders are classes, in alphabetical order.

    Images that are not all square and of one size need `image_size`: they are cropped to their centre and resized.
    Images that are not all grey or all RGB need `channels`; transparent images are composited on white.

    Raises:
        UserError: A file is not a readable image, a class is empty, or `image_size` or `channels` is needed.
    """
    files, labels = _list(root)
    headers = map_files(read_header, files)
    for header in headers:
        if header.mode not in _CHANNELS:
            raise UserError(f"dataset: {header.path} has the mode {header.mode}; allowed: {', '.join(_CHANNELS)}")
    size = image_size or _common_size(headers)
    depth = _common_channels(headers) if channels is None else channels
    classes = max(labels) + 1 if labels else 0
    spec = DataSpec(name=f"folder:{root}", image_size=size, channels=depth, classes=classes, count=len(files))
    targets = torch.tensor(labels) if labels else None

    def read(split: str) -> Images:
        del split  # A folder has only a training split.
        to_tensor = partial(decode, image_size=size, channels=depth)
        if len(files) * depth * size * size <= RESIDENT_BYTES:
            return ResidentImages(torch.stack(map_files(to_tensor, files)), targets)
        map_files(lambda path: to_tensor(path).numel(), files)  # Finds unreadable files before training.
        return StreamedImages(files, targets, to_tensor)

    return Dataset(spec=spec, splits={"train": len(files)}, read=read)


def _list(root: Path) -> tuple[list[Path], list[int]]:
    """Returns the files and, where the folder has class folders, the label of each file."""
    if not root.is_dir():
        raise UserError(f"dataset: {str(root)!r} is not a folder")
    visible = sorted(path for path in root.iterdir() if not path.name.startswith("."))
    folders = [path for path in visible if path.is_dir()]
    loose = [path for path in visible if not path.is_dir()]
    if folders and loose:
        raise UserError(
            f"dataset: {str(root)!r} holds class folders ({folders[0].name}) and loose files ({loose[0].name}): "
            "move the files into class folders, or all images into one folder"
        )
    if not folders:
        if not loose:
            raise UserError(f"dataset: {str(root)!r} is empty")
        return loose, []
    files, labels = [], []
    for label, folder in enumerate(folders):
        inside = sorted(p for p in folder.rglob("*") if p.is_file() and not p.name.startswith("."))
        if not inside:
            raise UserError(f"dataset: the class folder {str(folder)!r} is empty: add images or remove it")
        files += inside
        labels += [label] * len(inside)
    return files, labels


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
