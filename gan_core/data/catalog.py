"""Data sets by name: scikit-learn's digits, torchvision's data sets, Stacked-MNIST, and image folders."""

from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from gan_core.data.dataset import RESIDENT_BYTES, Dataset, Images, ResidentImages, convert
from gan_core.data.folder import open_folder
from gan_core.data.stacked import stack
from gan_core.data.torchvision_files import Known, read_torchvision
from gan_core.errors import UserError, did_you_mean
from gan_core.game.data_spec import DataSpec

_KNOWN = {
    "digits": Known(image_size=8, channels=1, train=1500, test=297),
    "mnist": Known(image_size=28, channels=1, train=60_000, test=10_000, torchvision="MNIST"),
    "fashion-mnist": Known(image_size=28, channels=1, train=60_000, test=10_000, torchvision="FashionMNIST"),
    "kmnist": Known(image_size=28, channels=1, train=60_000, test=10_000, torchvision="KMNIST"),
    "usps": Known(image_size=16, channels=1, train=7291, test=2007, torchvision="USPS"),
    "cifar10": Known(image_size=32, channels=3, train=50_000, test=10_000, torchvision="CIFAR10"),
}
_STACKED = "stacked-mnist"


def open_dataset(
    name: str,
    *,
    data_dir: Path | None = None,
    image_size: int | None = None,
    channels: int | None = None,
    skip_bad: bool = False,
) -> Dataset:
    """Describes the data set `name`; its images are read later.

    Args:
        name: "digits", "mnist", "fashion-mnist", "kmnist", "usps", "cifar10", "stacked-mnist", or
            "folder:PATH".
        data_dir: A torchvision root that already holds the files; None downloads them to the cache folder.
        image_size: Pixels a side to resize to; None keeps the data's own size.
        channels: 1 converts to grey, 3 to RGB; None keeps the data's own channels.
        skip_bad: Whether to leave out files of a folder that are not readable images.

    Raises:
        UserError: The name is unknown, or the folder holds a file that is not an image.
    """
    if name.removeprefix("folder:") and name.startswith("folder:"):
        root = Path(name.removeprefix("folder:")).expanduser()
        return open_folder(root, image_size=image_size, channels=channels, skip_bad=skip_bad)
    if name == _STACKED:
        digits = open_dataset("mnist", data_dir=data_dir, image_size=image_size)
        return stack(name, digits, channels)
    known = _KNOWN.get(name)
    if known is None:
        names = (*_KNOWN, _STACKED)
        near = f" Did you mean 'folder:{name}'?" if Path(name).is_dir() else did_you_mean(name, names)
        raise UserError(f"dataset: {name!r} is not known.{near} Allowed: {', '.join(names)}, folder:PATH")
    size = image_size or known.image_size
    depth = channels or known.channels
    spec = DataSpec(name=name, image_size=size, channels=depth, classes=known.classes, count=known.train)

    def read(split: str) -> Images:
        images, labels = read_torchvision(name, known, split, data_dir) if known.torchvision else _read_digits(split)
        if len(images) * depth * size * size > RESIDENT_BYTES:
            return ResidentImages(images, labels, (size, depth))
        return ResidentImages(convert(images, size, depth), labels)

    return Dataset(spec=spec, splits={"train": known.train, "test": known.test}, read=read)


def _read_digits(split: str) -> tuple[Tensor, Tensor]:
    """Reads the UCI 8 x 8 digits from scikit-learn's own file; the last 297 images are the test split."""
    # Importing scikit-learn, only to read this file, would take a third of the time of a short run.
    package = find_spec("sklearn")
    assert package is not None
    assert package.submodule_search_locations is not None
    file = Path(package.submodule_search_locations[0]) / "datasets" / "data" / "digits.csv.gz"
    # A row has 64 pixels from 0 to 16, and the label.
    rows = np.loadtxt(file, delimiter=",")[slice(None, 1500) if split == "train" else slice(1500, None)]
    images = torch.from_numpy(rows[:, :64]).mul(255 / 16).round().to(torch.uint8)
    return images.view(-1, 1, 8, 8), torch.from_numpy(rows[:, 64]).long()
