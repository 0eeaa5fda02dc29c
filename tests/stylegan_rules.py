"""A reader of zips by the rules of stylegan3's loader, written after what its training/dataset.py accepts.

Images are the members whose extension Pillow knows, in the order of their names. All have the shape of the first, which
is square, uint8, with 1 or 3 channels. dataset.json, if it is there, has "labels": None, or pairs of a name and a whole
number from 0 on, for every image. Its dataset_tool, which also checks what it writes, wants a power of two as the side.
"""

import json
from pathlib import Path
from zipfile import ZIP_STORED, ZipFile

import numpy as np
from PIL import Image


def read_as_stylegan(path: Path) -> tuple[np.ndarray, np.ndarray | None]:
    """Returns the images (N, C, H, W) uint8 and the labels (N,) int64, if there are any."""
    Image.init()
    images = []
    with ZipFile(path) as file:
        names = {name for name in file.namelist() if Path(name).suffix.lower() in Image.EXTENSION}
        for name in sorted(names):
            with file.open(name) as member:
                pixels = np.array(Image.open(member))
            images.append((pixels[:, :, np.newaxis] if pixels.ndim == 2 else pixels).transpose(2, 0, 1))
        about = json.loads(file.read("dataset.json"))["labels"] if "dataset.json" in file.namelist() else None
    assert images
    shape = images[0].shape
    assert all(image.shape == shape and image.dtype == np.uint8 for image in images)
    assert shape[0] in (1, 3)
    assert shape[1] == shape[2]
    if about is None:
        return np.stack(images), None
    by_name = dict(about)
    labels = np.array([by_name[name] for name in sorted(names)])
    assert labels.ndim == 1
    assert labels.dtype == np.int64
    assert labels.min() >= 0
    return np.stack(images), labels


def write_as_stylegan(path: Path, images: np.ndarray, labels: list[int] | None) -> None:
    """Writes a zip as dataset_tool does: images (N, H, W, C) uint8 as PNGs without compression, and dataset.json."""
    with ZipFile(path, "w", ZIP_STORED) as file:
        names = []
        for number, pixels in enumerate(images):
            digits = f"{number:08d}"
            names.append(f"{digits[:5]}/img{digits}.png")
            with file.open(names[-1], "w") as member:
                mode = {1: "L", 3: "RGB"}[pixels.shape[2]]
                Image.fromarray(pixels.squeeze(2) if mode == "L" else pixels).save(
                    member, format="png", compress_level=0, optimize=False
                )
        pairs = None if labels is None else [[name, label] for name, label in zip(names, labels, strict=True)]
        file.writestr("dataset.json", json.dumps({"labels": pairs}))
