"""Data sets that torchvision reads: every fault of their files is one error that names the file."""

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path

import torch
from torch import Tensor

from gan_core.console import PlainConsole
from gan_core.data.cache import cache_folder
from gan_core.errors import UserError


@dataclass(frozen=True, kw_only=True, slots=True)
class Known:
    """A data set whose shape is known without reading it."""

    image_size: int
    channels: int
    train: int
    test: int
    classes: tuple[str, ...] = tuple("0123456789")
    torchvision: str = ""


def read_torchvision(name: str, known: Known, split: str, data_dir: Path | None) -> tuple[Tensor, Tensor]:
    """Reads a split: images (N, C, H, W) uint8 and labels (N,) int64.

    Args:
        name: The data set's name in errors.
        known: What it should be.
        split: "train" or "test".
        data_dir: A torchvision root that holds the files; None downloads them to the cache folder.

    Raises:
        UserError: The files are missing or damaged, cannot be downloaded, or hold something else.
    """
    from torchvision import datasets

    root = (data_dir or cache_folder()).expanduser()
    files = _files(known, split, root)
    if data_dir is None and not all(file.exists() for file in files):  # torchvision shows a bar for each file.
        PlainConsole(stderr=True).print(f"downloading {name} to {root}", soft_wrap=True)
    try:
        data = getattr(datasets, known.torchvision)(root, train=split == "train", download=data_dir is None)
    except Exception as error:  # Damaged files make torchvision raise anything.
        problem = next(filter(None, map(_idx_problem, files)), "")
        raise UserError(problem or _unreadable(name, known, root, data_dir, error)) from error
    # MNIST and its variants hold tensors (N, H, W); USPS holds arrays (N, H, W); CIFAR holds arrays (N, H, W, C).
    images, labels = torch.as_tensor(data.data), torch.as_tensor(data.targets).long()
    images = images[:, None] if images.ndim == 3 else images.permute(0, 3, 1, 2).contiguous()
    shape = (known.train if split == "train" else known.test, known.channels, known.image_size, known.image_size)
    classes = len(known.classes)
    wanted = f"but {name} has {_described(shape)} and labels from 0 to {classes - 1}"
    if tuple(images.shape) != shape:
        raise UserError(f"{str(files[0])!r} holds {_described(images.shape)}, {wanted}. Replace it")
    if len(labels) != len(images):
        raise UserError(f"{str(files[1])!r} holds {len(labels):,} labels, {wanted}. Replace it")
    if labels.min() < 0 or labels.max() >= classes:
        raise UserError(f"{str(files[1])!r} holds labels from {labels.min()} to {labels.max()}, {wanted}. Replace it")
    return images, labels


def _unreadable(name: str, known: Known, root: Path, data_dir: Path | None, error: Exception) -> str:
    needed = {"USPS": "usps.bz2", "CIFAR10": "cifar-10-batches-py/"}.get(known.torchvision, f"{known.torchvision}/raw/")
    if data_dir is not None:
        return (
            f"data_dir: {str(root)!r} holds no {name} files that torchvision can read ({error}).\n"
            f"Pass the folder that contains {needed} as --data-dir, omit it to download, "
            "or use --dataset digits, which needs no files."
        )
    return (
        f"dataset: {name!r} could not be downloaded to {str(root)!r} ({error}).\n"
        f"Pass a folder that contains {needed} as --data-dir, "
        "or use --dataset digits, which needs no network."
    )


def _files(known: Known, split: str, root: Path) -> tuple[Path, Path]:
    """Returns where torchvision finds the images and the labels of a split."""
    if known.torchvision == "USPS":
        file = root / ("usps.bz2" if split == "train" else "usps.t.bz2")
        return file, file
    if known.torchvision == "CIFAR10":
        return root / "cifar-10-batches-py", root / "cifar-10-batches-py"
    start = root / known.torchvision / "raw" / ("train" if split == "train" else "t10k")
    return Path(f"{start}-images-idx3-ubyte"), Path(f"{start}-labels-idx1-ubyte")


def _idx_problem(file: Path) -> str:
    """Returns what is wrong with the size of an idx file: dimensions, then one byte per value. "" if it is no idx file.

    Source: http://yann.lecun.com/exdb/mnist, "the IDX file format".
    """
    if not file.name.endswith("ubyte") or not file.is_file():
        return ""
    with file.open("rb") as opened:
        head = opened.read(16)
    dimensions = head[3] if len(head) > 3 else 0
    wanted = 3 if "idx3" in file.name else 1
    if dimensions != wanted or len(head) < 4 + 4 * dimensions:
        return f"{str(file)!r} is no idx file of {wanted} dimension{'s' if wanted > 1 else ''}. Replace it"
    sizes = struct.unpack_from(f">{dimensions}I", head, 4)
    values = file.stat().st_size - 4 - 4 * dimensions
    if values == prod(sizes):
        return ""
    return f"{str(file)!r} says that it holds {' x '.join(map(str, sizes))} values, but it holds {values}. Replace it"


def _described(shape: Sequence[int]) -> str:
    count, channels, height, width = shape
    return f"{count:,} images of {height} x {width} pixels and {channels} channel{'s' if channels > 1 else ''}"
