"""The classics: scikit-learn's digits, and those that torchvision downloads."""

from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gan_core.data.dataset import Dataset, Rows, resident
from gan_core.data.source import DataRequest, DataSource
from gan_core.data.torchvision_files import Known, read_torchvision
from gan_core.game.data_spec import DataSpec

_CLOTHES = ("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot")
_KUZUSHIJI = ("o", "ki", "su", "tsu", "na", "ha", "ma", "ya", "re", "wo")
_CIFAR10 = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")


def _open(known: Known, request: DataRequest) -> Dataset:
    size = request.image_size or known.image_size
    depth = request.channels or known.channels
    spec = DataSpec.of_images(
        name=request.name,
        image_size=size,
        channels=depth,
        classes=len(known.classes),
        count=known.train,
        class_names=known.classes,
    )

    def read(table: str, split: str) -> Rows:
        if known.torchvision:
            images, labels = read_torchvision(request.name, known, split, request.data_dir)
        else:
            images, labels = _read_digits(split)
        return resident(spec.tables[table].fields, {"images": images, "labels": labels})

    return Dataset(spec=spec, splits={"train": {"images": known.train}, "test": {"images": known.test}}, read=read)


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


def _classic(**known: Any) -> DataSource:
    return DataSource(api=1, open=partial(_open, Known(**known)))


digits = _classic(image_size=8, channels=1, train=1500, test=297)
"""Handwritten digits, 8 x 8, grey; included in scikit-learn, so nothing is downloaded."""
mnist = _classic(image_size=28, channels=1, train=60_000, test=10_000, torchvision="MNIST")
"""Handwritten digits, 28 x 28, grey."""
fashion_mnist = _classic(
    image_size=28, channels=1, train=60_000, test=10_000, classes=_CLOTHES, torchvision="FashionMNIST"
)
"""Ten kinds of clothes, 28 x 28, grey."""
kmnist = _classic(image_size=28, channels=1, train=60_000, test=10_000, classes=_KUZUSHIJI, torchvision="KMNIST")
"""Ten handwritten Japanese characters, 28 x 28, grey."""
usps = _classic(image_size=16, channels=1, train=7291, test=2007, torchvision="USPS")
"""Handwritten digits of the US postal service, 16 x 16, grey."""
cifar10 = _classic(image_size=32, channels=3, train=50_000, test=10_000, classes=_CIFAR10, torchvision="CIFAR10")
"""Photographs of ten kinds of animals and vehicles, 32 x 32, RGB."""
