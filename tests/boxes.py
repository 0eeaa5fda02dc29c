"""Data sets in boxes, each written by its own library: 12 images of 8 x 8 in two classes, the same in every box."""

import io
import json
import zipfile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

COUNT = 12
LABELS = [at % 2 for at in range(COUNT)]


def image(at: int) -> NDArray[np.uint8]:
    """Returns image `at`: (8, 8, 3)."""
    return np.random.default_rng(at).integers(0, 256, (8, 8, 3), np.uint8)


def png(at: int) -> bytes:
    """Returns image `at` as a PNG file."""
    file = io.BytesIO()
    Image.fromarray(image(at)).save(file, "png")
    return file.getvalue()


def zipped(root: Path, compression: int = zipfile.ZIP_STORED) -> Path:
    """Writes a zip as StyleGAN's dataset_tool does: `save_bytes` there is `writestr` into a ZIP_STORED file."""
    names = [f"00000/img{at:08d}.png" for at in range(COUNT)]
    with zipfile.ZipFile(root / "box.zip", "w", compression) as box:
        for at, name in enumerate(names):
            box.writestr(name, png(at))
        box.writestr("dataset.json", json.dumps({"labels": [list(one) for one in zip(names, LABELS, strict=True)]}))
    return root / "box.zip"


def shards(root: Path) -> Path:
    """Writes three shards of four samples by webdataset's own writer; returns their pattern."""
    from webdataset import TarWriter

    for number in range(3):
        with TarWriter(str(root / f"box-{number:03d}.tar")) as shard:
            for at in range(4 * number, 4 * number + 4):
                shard.write({"__key__": f"{at:06d}", "png": png(at), "cls": str(LABELS[at]).encode(), "txt": b"words"})
    return root / "box-{000..002}.tar"


def parquet(root: Path) -> Path:
    """Writes a parquet file by Hugging Face's library."""
    from datasets import ClassLabel, Dataset, Features
    from datasets import Image as Images

    rows = {"image": [{"bytes": png(at), "path": None} for at in range(COUNT)], "label": LABELS}
    features = Features({"image": Images(), "label": ClassLabel(names=["even", "odd"])})
    Dataset.from_dict(rows, features=features).to_parquet(root / "box.parquet")
    return root / "box.parquet"


def npz(root: Path) -> Path:
    """Writes an .npz of images and labels."""
    np.savez(root / "box.npz", arr_0=np.stack([image(at) for at in range(COUNT)]), arr_1=np.array(LABELS))
    return root / "box.npz"


def npy(root: Path) -> Path:
    """Writes an .npy of images."""
    np.save(root / "box.npy", np.stack([image(at) for at in range(COUNT)]))
    return root / "box.npy"


BOXES = {"zip": zipped, "webdataset": shards, "hf": parquet, "npz": npz, "npy": npy}
