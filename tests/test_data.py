"""Data sets: their specs, reading and conversion, errors of image folders, and the order of images."""

import struct
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from gan_core.data.catalog import open_dataset
from gan_core.data.dataset import Dataset, ResidentRows, convert
from gan_core.data.row_order import RowOrder
from gan_core.data.streaming import StreamedRows
from gan_core.errors import UserError
from gan_core.plugins.load import load_variant
from gan_core.randomness import Share, Streams
from tests.conftest import gan_core, metrics

CPU = torch.device("cpu")


def picture(path: Path, size: tuple[int, int] = (16, 16), mode: str = "RGB", seed: int = 0) -> Path:
    """Writes random pixels."""
    pixels = np.random.default_rng(seed).integers(0, 256, (*size[::-1], 4), dtype=np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels, "RGBA" if mode == "RGBA" else None).convert(mode).save(path)
    return path


def first_rows(dataset: Dataset, indices: list[int], split: str = "train") -> tuple[Tensor, Tensor]:
    """Returns the images and labels of a split at these indices."""
    (rows,) = dataset.read("images", split).batches([indices])
    return rows["images"], rows["labels"]


def test_digits_equal_those_of_scikit_learn() -> None:
    from sklearn.datasets import load_digits

    dataset = open_dataset("digits")
    rows = dataset.read("images", "train")
    assert isinstance(rows, ResidentRows)
    images = rows.columns["images"]
    assert images.shape == (dataset.spec.count, 1, 8, 8)
    assert rows.labels["labels"].tolist() == load_digits().target[:1500].tolist()
    assert (images[0, 0].double() * 16 / 255).round().tolist() == load_digits().images[0].tolist()
    assert dataset.read("images", "test").batches([[0]]) is not None
    assert dataset.splits == {"train": {"images": 1500}, "test": {"images": 297}}


def test_mnist_is_mnist(mnist_root: Path) -> None:
    dataset = open_dataset("mnist", data_dir=mnist_root)
    images, labels = first_rows(dataset, list(range(60_000)))
    assert (dataset.spec.image_size, dataset.spec.channels, dataset.spec.classes, dataset.spec.count) == (
        28,
        1,
        10,
        60_000,
    )
    # Widely published: the first digits, the share of ones, and the mean pixel 0.1307.
    assert labels[:10].tolist() == [5, 0, 4, 1, 9, 2, 1, 3, 1, 4]
    assert int((labels == 1).sum()) == 6742
    assert float(images.double().mean()) / 255 == pytest.approx(0.1307, abs=5e-5)


def write_kmnist(root: Path, pixels: np.ndarray[Any, Any], labels: bytes) -> tuple[Path, Path]:
    """Writes the test split of KMNIST, and empty files in place of the training split; returns images and labels."""
    raw = root / "KMNIST" / "raw"
    raw.mkdir(parents=True)
    for name in ("train-images-idx3-ubyte", "train-labels-idx1-ubyte"):
        (raw / name).touch()
    images, targets = raw / "t10k-images-idx3-ubyte", raw / "t10k-labels-idx1-ubyte"
    images.write_bytes(struct.pack(">IIII", 2051, *pixels.shape) + pixels.tobytes())
    targets.write_bytes(struct.pack(">II", 2049, len(labels)) + labels)
    return images, targets


def test_a_torchvision_root_made_by_hand(tmp_path: Path) -> None:
    pixels = np.arange(10_000 * 28 * 28, dtype=np.uint32).astype(np.uint8).reshape(10_000, 28, 28)
    write_kmnist(tmp_path, pixels, bytes([7, 8, 9, 0]) * 2500)
    images, labels = first_rows(open_dataset("kmnist", data_dir=tmp_path), [2, 0], "test")
    assert images.shape == (2, 1, 28, 28)
    assert images[0, 0].numpy().tolist() == pixels[2].tolist()
    assert labels.tolist() == [9, 7]


def truncated(images: Path, labels: Path) -> str:
    images.write_bytes(images.read_bytes()[:5000])
    return "t10k-images-idx3-ubyte' says that it holds 10000 x 28 x 28 values, but it holds 4984"


def truncated_labels(images: Path, labels: Path) -> str:
    labels.write_bytes(labels.read_bytes()[:-1])
    return "t10k-labels-idx1-ubyte' says that it holds 10000 values, but it holds 9999"


def emptied(images: Path, labels: Path) -> str:
    images.write_bytes(b"")
    return "t10k-images-idx3-ubyte' is no idx file of 3 dimensions"


def exchanged(images: Path, labels: Path) -> str:
    images.write_bytes(labels.read_bytes())
    return "t10k-images-idx3-ubyte' is no idx file of 3 dimensions"


def fewer(images: Path, labels: Path) -> str:
    images.write_bytes(struct.pack(">IIII", 2051, 9, 28, 28) + bytes(9 * 28 * 28))
    return "t10k-images-idx3-ubyte' holds 9 images of 28 x 28 pixels and 1 channel, but kmnist has 10,000 images"


def other_size(images: Path, labels: Path) -> str:
    images.write_bytes(struct.pack(">IIII", 2051, 10_000, 14, 14) + bytes(10_000 * 14 * 14))
    return "t10k-images-idx3-ubyte' holds 10,000 images of 14 x 14 pixels and 1 channel, but kmnist has"


def fewer_labels(images: Path, labels: Path) -> str:
    labels.write_bytes(struct.pack(">II", 2049, 9999) + bytes(9999))
    return "t10k-labels-idx1-ubyte' holds 9,999 labels, but kmnist has 10,000 images"


def too_many_classes(images: Path, labels: Path) -> str:
    labels.write_bytes(struct.pack(">II", 2049, 10_000) + bytes([0, 10]) * 5000)
    return "t10k-labels-idx1-ubyte' holds labels from 0 to 10, but kmnist has .* and labels from 0 to 9"


@pytest.mark.parametrize(
    "damage",
    [truncated, truncated_labels, emptied, exchanged, fewer, other_size, fewer_labels, too_many_classes],
)
def test_files_that_hold_something_else_are_named(tmp_path: Path, damage: Callable[[Path, Path], str]) -> None:
    message = damage(*write_kmnist(tmp_path, np.zeros((10_000, 28, 28), np.uint8), bytes(10_000)))
    with pytest.raises(UserError, match=message):
        open_dataset("kmnist", data_dir=tmp_path).read("images", "test")


def test_cifar10_with_a_label_out_of_range_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = SimpleNamespace(data=np.zeros((50_000, 32, 32, 3), np.uint8), targets=[*range(11), *[0] * 49_989])
    monkeypatch.setattr("torchvision.datasets.CIFAR10", lambda root, train, download: files)
    with pytest.raises(UserError, match="cifar-10-batches-py' holds labels from 0 to 10, but cifar10 has"):
        open_dataset("cifar10", data_dir=tmp_path).read("images", "train")


def test_missing_files_are_explained(tmp_path: Path) -> None:
    with pytest.raises(
        UserError, match=r"data_dir: .* holds no mnist files .*\n.*--dataset digits, which needs no files"
    ):
        open_dataset("mnist", data_dir=tmp_path).read("images", "train")


def test_resizing_and_grey_agree_with_pillow(tmp_path: Path) -> None:
    path = picture(tmp_path / "a.png", (32, 32))
    with Image.open(path) as image:
        pixels = torch.from_numpy(np.array(image)).permute(2, 0, 1)[None].contiguous()
        grey = torch.from_numpy(np.array(image.convert("L")))
        small = torch.from_numpy(np.array(image.resize((16, 16), Image.Resampling.BICUBIC))).permute(2, 0, 1)
    assert (convert(pixels, (1, 32, 32))[0, 0].int() - grey.int()).abs().max() <= 1
    # torch's antialiased bicubic has a = -0.5 like Pillow's, but rounds once, and Pillow after each axis.
    assert (convert(pixels, (3, 16, 16))[0].int() - small.int()).abs().max() <= 2
    colour = convert(pixels[:, :1], (3, 32, 32))
    assert colour.shape == (1, 3, 32, 32)
    assert torch.equal(colour[:, 0], colour[:, 2])


def test_a_folder_of_classes(tmp_path: Path) -> None:
    for label, name in enumerate(["cat", "dog"]):
        for number in range(3):
            picture(tmp_path / name / f"{number}.png", seed=10 * label + number)
    (tmp_path / "cat" / ".DS_Store").write_text("hidden files are ignored")
    dataset = open_dataset(f"folder:{tmp_path}")
    assert (dataset.spec.image_size, dataset.spec.channels, dataset.spec.classes, dataset.spec.count) == (16, 3, 2, 6)
    images, labels = first_rows(dataset, [5, 0])
    assert labels.tolist() == [1, 0]
    with Image.open(tmp_path / "dog" / "2.png") as image:
        assert images[0].permute(1, 2, 0).numpy().tolist() == np.array(image).tolist()


def test_a_folder_too_large_for_memory_is_streamed_with_the_same_result(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(6):
        picture(tmp_path / f"class{number % 2}" / f"{number}.png", (20, 12), seed=number)
    dataset = open_dataset(f"folder:{tmp_path}", image_size=8, channels=1)
    order = [[4, 1], [0, 5], [3, 3]]
    resident = list(dataset.read("images", "train").batches(order))
    monkeypatch.setattr("gan_core.data.residency.RESIDENT_BYTES", 100)
    streamed_images = open_dataset(f"folder:{tmp_path}", image_size=8, channels=1).read("images", "train")
    assert isinstance(streamed_images, StreamedRows)
    streamed = list(streamed_images.to(CPU).batches(order))
    assert len(streamed) == 3
    for one, other in zip(resident, streamed, strict=True):
        assert torch.equal(one["images"], other["images"])
        assert torch.equal(one["labels"], other["labels"])


def test_images_too_large_when_converted_are_converted_batch_by_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    dataset = open_dataset("digits", image_size=16, channels=3)
    (resident,) = dataset.read("images", "train").batches([[5, 2]])
    monkeypatch.setattr("gan_core.data.dataset.RESIDENT_BYTES", 1000)
    late = open_dataset("digits", image_size=16, channels=3).read("images", "train")
    assert isinstance(late, ResidentRows)
    assert late.columns["images"].shape == (1500, 1, 8, 8)
    (converted,) = late.to(CPU).batches([[5, 2]])
    assert torch.equal(resident["images"], converted["images"])


def corrupt(root: Path) -> str:
    path = picture(root / "broken.png")
    path.write_bytes(path.read_bytes()[:200])
    return r"1 of 2 files cannot be used:\n  .*broken\.png: "


def not_an_image(root: Path) -> str:
    (root / "notes.txt").write_text("hello")
    return r"notes\.txt: not an image"


def odd_size(root: Path) -> str:
    picture(root / "wide.png", (20, 20))
    return r"wide\.png is 20 x 20 pixels, but .*a\.png is 16 x 16: pass --image-size"


def odd_mode(root: Path) -> str:
    picture(root / "clear.png", mode="RGBA")
    return r"clear\.png has the mode RGBA.*pass --channels 1 \(grey\) or --channels 3"


def unbounded(root: Path) -> str:
    Image.new("F", (16, 16)).save(root / "deep.tiff")
    return r"deep\.tiff: its mode is F; allowed: 1, L"


def class_and_loose(root: Path) -> str:
    picture(root / "cat" / "b.png")
    return "holds class folders \\(cat\\) and loose files \\(a.png\\)"


@pytest.mark.parametrize("damage", [corrupt, not_an_image, odd_size, odd_mode, unbounded, class_and_loose])
def test_problems_in_a_folder_are_reported(tmp_path: Path, damage: Callable[[Path], str]) -> None:
    picture(tmp_path / "a.png")
    message = damage(tmp_path)
    with pytest.raises(UserError, match=message):
        open_dataset(f"folder:{tmp_path}").read("images", "train")


def test_images_that_are_not_square_are_refused_by_variants_that_need_square_ones(tmp_path: Path) -> None:
    picture(tmp_path / "a.png", (20, 16))
    dataset = open_dataset(f"folder:{tmp_path}")
    assert dataset.spec.image().shape == (3, 16, 20)
    (rows,) = dataset.read("images", "train").batches([[0, 0]])
    assert rows["images"].shape == (2, 3, 16, 20)
    with pytest.raises(UserError, match="images of 20 x 16 are not square: pass --image-size PIXELS"):
        load_variant("dcgan").build(None, dataset.spec)


def test_an_empty_folder_and_an_empty_class(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="is empty"):
        open_dataset(f"folder:{tmp_path}")
    with pytest.raises(UserError, match="is not a folder"):
        open_dataset(f"folder:{tmp_path}/nowhere")
    picture(tmp_path / "cat" / "a.png")
    (tmp_path / "dog").mkdir()
    with pytest.raises(UserError, match=r"class folder '.*dog' is empty"):
        open_dataset(f"folder:{tmp_path}")


def test_transparent_images_are_composited_on_white(tmp_path: Path) -> None:
    Image.new("RGBA", (8, 8), (10, 20, 30, 0)).save(tmp_path / "clear.png")
    (rows,) = open_dataset(f"folder:{tmp_path}", channels=3).read("images", "train").batches([[0]])
    assert rows["images"].unique().tolist() == [255]


def test_images_come_in_permutations_and_processes_share_each_batch() -> None:
    order = RowOrder(Streams(3), "images", 10)
    epochs = order[slice(0, 30)].tolist()
    assert [sorted(epochs[at : at + 10]) for at in (0, 10, 20)] == [list(range(10))] * 3
    assert epochs[:10] != epochs[10:20]
    single = Share(0, 1).micro_batches(4, 1)
    whole, first, second = (
        [part.tolist() for part in islice(RowOrder(Streams(3), "images", 10).batches(0, 4, parts), 5)]
        for parts in (single, Share(0, 2).micro_batches(4, 1), Share(1, 2).micro_batches(4, 1))
    )
    assert [index for batch in whole for index in batch] == epochs[:20]
    assert [a + b for a, b in zip(first, second, strict=True)] == whole
    assert [part.tolist() for part in islice(order.batches(8, 4, single), 3)] == whole[2:5]


def test_a_batch_is_split_into_micro_batches_before_it_is_split_over_processes() -> None:
    # 8 images in 2 micro-batches on 2 processes: {0..3} is one micro-batch of both, {4..7} the other.
    assert Share(0, 2).micro_batches(8, 2) == [slice(0, 2), slice(4, 6)]
    assert Share(1, 2).micro_batches(8, 2) == [slice(2, 4), slice(6, 8)]


def test_the_fingerprint_depends_on_pixels_and_labels() -> None:
    images, labels = torch.zeros(3, 1, 2, 2, dtype=torch.uint8), torch.tensor([0, 1, 2])
    before = ResidentRows({"images": images, "labels": labels}).fingerprint
    assert before == ResidentRows({"images": images.clone(), "labels": labels.clone()}).fingerprint
    assert before != ResidentRows({"images": images, "labels": labels.flip(0)}).fingerprint
    assert before != ResidentRows({"images": images + 1, "labels": labels}).fingerprint
    assert before != ResidentRows({"images": images}).fingerprint


def test_the_error_of_a_failed_download_names_alternatives(tmp_path: Path) -> None:
    # Nothing listens on port 9, so every download fails.
    nowhere = dict.fromkeys(("http_proxy", "https_proxy"), "http://127.0.0.1:9")
    flags = ("--variant", "dcgan", "--dataset", "kmnist", "--steps", 1, "--out", tmp_path / "run")
    output = gan_core("train", *flags, expect=2, XDG_CACHE_HOME=str(tmp_path), **nowhere)
    assert "error: dataset: 'kmnist' could not be downloaded" in output
    assert "Pass a folder that contains KMNIST/raw/ as --data-dir, or use --dataset digits" in output
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("processes", [1, 2])
def test_dcgan_trains_on_mnist_through_accelerate(mnist_root: Path, tmp_path: Path, processes: int) -> None:
    flags = ("--variant", "dcgan", "--dataset", "mnist", "--data-dir", mnist_root, "--set", "width=8", "--batch", 16)
    output = gan_core("train", *flags, "--steps", 200, "--out", tmp_path / "run", processes=processes, launched=True)
    first = next(line for line in output.splitlines() if line.startswith("processes"))
    assert first.split()[1] == str(processes)
    assert "finished at 3.2 kimg" in output
    terms = metrics(tmp_path / "run")[-1]
    assert all(np.isfinite(value) for value in terms.values())
    # After 200 steps the discriminator recognises most fakes, but not all.
    assert 0 < terms["discriminator/D(fake)"] < terms["discriminator/D(real)"] < 1
