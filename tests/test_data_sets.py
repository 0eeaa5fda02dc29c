"""Image folders with splits, unpaired domains and pairs: what is read, and which error names what does not fit."""

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from gan_core.app.data import described_data, fingerprints_of, spec_of
from gan_core.data.catalog import open_dataset
from gan_core.data.dataset import Dataset, resident
from gan_core.data.streaming import StreamedRows
from gan_core.errors import UserError
from gan_core.game.data_spec import ImageField, LabelField
from tests.test_data import picture


def pixels(path: Path) -> Tensor:
    """Returns a file as Pillow reads it: (C, H, W)."""
    with Image.open(path) as image:
        array = np.array(image)
    return torch.from_numpy(array.reshape(*array.shape[:2], -1)).permute(2, 0, 1)


def rows_of(dataset: Dataset, table: str, split: str, indices: list[int]) -> Mapping[str, Tensor]:
    (rows,) = dataset.read(table, split).batches([indices])
    return rows


def fingerprints(name: str, **request: object) -> dict[str, str]:
    dataset = open_dataset(name, **request)  # type: ignore[arg-type]
    return {table: dataset.read(table, "train").fingerprint for table in dataset.spec.tables}


def test_train_and_test_are_splits_of_the_same_classes(tmp_path: Path) -> None:
    for split, each in (("train", 3), ("test", 2)):
        for at, name in enumerate(("cat", "dog")):
            for number in range(each):
                picture(tmp_path / split / name / f"{number}.png", seed=100 * each + 10 * at + number)
    dataset = open_dataset(f"folder:{tmp_path}")
    assert dataset.splits == {"train": {"images": 6}, "test": {"images": 4}}
    assert dataset.spec.fields["labels"] == LabelField(classes=2, names=("cat", "dog"))
    found = rows_of(dataset, "images", "test", [3, 0])
    assert found["labels"].tolist() == [1, 0]
    assert torch.equal(found["images"][0], pixels(tmp_path / "test" / "dog" / "1.png"))
    (tmp_path / "test" / "dog").rename(tmp_path / "test" / "cow")
    with pytest.raises(UserError, match="has the classes cat, dog in train, but cat, cow in test"):
        open_dataset(f"folder:{tmp_path}")


def test_splits_may_have_no_classes_and_must_both_have_images(tmp_path: Path) -> None:
    picture(tmp_path / "train" / "a.png")
    picture(tmp_path / "test" / "b.png")
    dataset = open_dataset(f"folder:{tmp_path}")
    assert (dataset.splits, dataset.spec.classes) == ({"train": {"images": 1}, "test": {"images": 1}}, 0)
    (tmp_path / "test" / "b.png").write_text("no image")
    with pytest.raises(UserError, match=f"'{tmp_path}' has no image that can be used in test"):
        open_dataset(f"folder:{tmp_path}", skip_bad=True)


@pytest.mark.parametrize("names", [("test", "train", "valid"), ("train",), ("test",)])
def test_folders_called_train_or_test_beside_others_are_classes(names: tuple[str, ...], tmp_path: Path) -> None:
    for name in names:
        picture(tmp_path / name / "a.png")
    dataset = open_dataset(f"folder:{tmp_path}")
    assert dataset.spec.class_names == names
    assert dataset.splits == {"train": {"images": len(names)}}


def test_a_photograph_that_is_turned_has_the_size_that_it_is_seen_in(tmp_path: Path) -> None:
    """Orientation 6 means: turn the stored pixels by 90 degrees clockwise."""
    stored = Image.fromarray(np.random.default_rng(0).integers(0, 256, (8, 12, 3), dtype=np.uint8))
    exif = Image.Exif()
    exif[0x0112] = 6
    for suffix in ("png", "tiff", "webp"):
        stored.save(tmp_path / f"a.{suffix}", exif=exif, lossless=True)
        dataset = open_dataset(f"folder:{tmp_path}")
        assert dataset.spec.image().shape == (3, 12, 8)
        found = rows_of(dataset, "images", "train", [0])["images"][0]
        assert torch.equal(found, pixels_of(stored.rotate(-90, expand=True)))
        (tmp_path / f"a.{suffix}").unlink()


def pixels_of(image: Image.Image) -> Tensor:
    return torch.from_numpy(np.array(image)).permute(2, 0, 1)


def test_resident_images_that_are_not_square_keep_their_shape() -> None:
    images = torch.randint(256, (3, 3, 4, 6), dtype=torch.uint8)
    field = ImageField(channels=3, height=4, width=6)
    assert torch.equal(resident({"images": field}, {"images": images}).columns["images"], images)
    half = ImageField(channels=1, height=2, width=3)
    assert resident({"images": half}, {"images": images}).columns["images"].shape == (3, 1, 2, 3)


@pytest.fixture
def domains(tmp_path: Path) -> Path:
    """Unpaired domains of other counts, sizes and colours."""
    for split, letter, count, size, mode in (
        ("train", "A", 5, (12, 8), "RGB"),
        ("train", "B", 3, (10, 10), "L"),
        ("test", "A", 2, (12, 8), "RGB"),
        ("test", "B", 4, (10, 10), "L"),
    ):
        for number in range(count):
            picture(tmp_path / "data" / f"{split}{letter}" / f"{number}.png", size, mode, seed=number + count)
    return tmp_path / "data"


def test_unpaired_domains_have_their_own_counts_sizes_and_colours(domains: Path) -> None:
    dataset = open_dataset(f"unpaired:{domains}")
    assert dataset.splits == {"train": {"a": 5, "b": 3}, "test": {"a": 2, "b": 4}}
    assert dataset.spec.fields == {
        "a": ImageField(channels=3, height=8, width=12),
        "b": ImageField(channels=1, height=10, width=10),
    }
    assert {name: table.count for name, table in dataset.spec.tables.items()} == {"a": 5, "b": 3}
    for field, split, indices in (("a", "train", [4, 0]), ("b", "train", [2, 2]), ("b", "test", [3, 1])):
        found = rows_of(dataset, field, split, indices)
        files = [domains / f"{split}{field.upper()}" / f"{number}.png" for number in indices]
        assert list(found) == [field]
        assert torch.equal(found[field], torch.stack([pixels(file) for file in files]))
    resized = open_dataset(f"unpaired:{domains}", image_size=8, channels=1)
    assert {field.shape for field in resized.spec.fields.values()} == {(1, 8, 8)}  # type: ignore[union-attr]


def test_the_test_split_of_domains_may_be_missing_but_not_one_half_of_it(domains: Path) -> None:
    for letter, message in (("A", "testA' is not a folder"), ("B", "testB' is not a folder")):
        away = domains.parent / "away"
        (domains / f"test{letter}").rename(away)
        with pytest.raises(UserError, match=message):
            open_dataset(f"unpaired:{domains}")
        away.rename(domains / f"test{letter}")
    for letter in "AB":
        (domains / f"test{letter}").rename(domains / f"unused{letter}")
    assert list(open_dataset(f"unpaired:{domains}").splits) == ["train"]
    (domains / "trainB").rename(domains / "trainC")
    with pytest.raises(UserError, match=r"trainB' is not a folder"):
        open_dataset(f"unpaired:{domains}")
    with pytest.raises(UserError, match=r"nowhere' is not a folder"):
        open_dataset(f"unpaired:{domains}/nowhere")


def test_a_domain_without_a_usable_image_is_named(domains: Path) -> None:
    for file in (domains / "testB").iterdir():
        file.write_text("no image")
    with pytest.raises(UserError, match=r"4 of 14 files cannot be used:\n  .*testB/0\.png: not an image"):
        open_dataset(f"unpaired:{domains}")
    with pytest.raises(UserError, match="has no image that can be used in testB"):
        open_dataset(f"unpaired:{domains}", skip_bad=True)


def side_by_side(root: Path, count: int, split: str = "train", size: tuple[int, int] = (12, 6)) -> None:
    for number in range(count):
        picture(root / split / f"{number}.png", size, seed=number)


def two_folders(root: Path, count: int, split: str = "") -> None:
    """The files of `a` are coloured, and those of `b` are grey, of another size and another format."""
    for number in range(count):
        picture(root / "A" / split / f"{number}.png", (6, 8), "RGB", seed=number)
        picture(root / "B" / split / f"{number}.bmp", (4, 4), "L", seed=number)


def test_pairs_side_by_side_are_the_halves_of_a_file(tmp_path: Path) -> None:
    side_by_side(tmp_path, 3)
    side_by_side(tmp_path, 2, "test")
    dataset = open_dataset(f"pairs:{tmp_path}")
    assert dataset.splits == {"train": {"pairs": 3}, "test": {"pairs": 2}}
    assert {name: field.shape for name, field in dataset.spec.fields.items()} == {  # type: ignore[union-attr]
        "a": (3, 6, 6),
        "b": (3, 6, 6),
    }
    found = rows_of(dataset, "pairs", "train", [2, 0])
    for at, number in enumerate((2, 0)):
        whole = pixels(tmp_path / "train" / f"{number}.png")
        assert torch.equal(found["a"][at], whole[:, :, :6])
        assert torch.equal(found["b"][at], whole[:, :, 6:])


@pytest.mark.parametrize("image_size", [None, 4])
def test_halves_must_be_of_equal_width(image_size: int | None, tmp_path: Path) -> None:
    side_by_side(tmp_path, 2)
    picture(tmp_path / "train" / "odd.png", (13, 6))
    with pytest.raises(UserError, match=r"odd\.png: is 13 pixels wide, but two images side by side have an even width"):
        open_dataset(f"pairs:{tmp_path}", image_size=image_size)
    kept = open_dataset(f"pairs:{tmp_path}", image_size=image_size, skip_bad=True)
    assert (kept.spec.count, kept.skipped) == (2, 1)


@pytest.mark.parametrize("splits", [("",), ("train",), ("train", "test")])
def test_pairs_in_two_folders_have_the_same_names(splits: tuple[str, ...], tmp_path: Path) -> None:
    for split in splits:
        two_folders(tmp_path, 3, split)
    dataset = open_dataset(f"pairs:{tmp_path}")
    assert dataset.splits == {split or "train": {"pairs": 3} for split in splits}
    assert dataset.spec.image("a").shape == (3, 8, 6)
    assert dataset.spec.image("b").shape == (1, 4, 4)
    found = rows_of(dataset, "pairs", splits[-1] or "train", [1])
    assert torch.equal(found["a"][0], pixels(tmp_path / "A" / splits[-1] / "1.png"))
    assert torch.equal(found["b"][0], pixels(tmp_path / "B" / splits[-1] / "1.bmp"))
    grey = open_dataset(f"pairs:{tmp_path}", channels=1)
    assert [grey.spec.image(name).channels for name in "ab"] == [1, 1]


def test_files_without_a_partner_are_listed_and_left_out_on_request(tmp_path: Path) -> None:
    two_folders(tmp_path, 4)
    (tmp_path / "B" / "0.bmp").unlink()
    (tmp_path / "A" / "3.png").unlink()
    with pytest.raises(UserError) as error:
        open_dataset(f"pairs:{tmp_path}")
    assert str(error.value).splitlines()[:3] == [
        "dataset: 2 of 6 files cannot be used:",
        f"  {tmp_path}/A/0.png: has no partner in {tmp_path}/B",
        f"  {tmp_path}/B/3.bmp: has no partner in {tmp_path}/A",
    ]
    dataset = open_dataset(f"pairs:{tmp_path}", skip_bad=True)
    assert (dataset.spec.count, dataset.skipped) == (2, 2)
    assert torch.equal(rows_of(dataset, "pairs", "train", [0])["b"][0], pixels(tmp_path / "B" / "1.bmp"))


def test_two_files_of_one_name_are_named(tmp_path: Path) -> None:
    two_folders(tmp_path, 2)
    picture(tmp_path / "A" / "1.bmp", (6, 8))
    with pytest.raises(UserError, match=r"A/1\.png: has the same name as 1\.bmp"):
        open_dataset(f"pairs:{tmp_path}")


@pytest.mark.parametrize("bad", ["A/1.png", "B/1.bmp"])
def test_a_bad_file_drops_the_whole_pair(bad: str, tmp_path: Path) -> None:
    two_folders(tmp_path, 3)
    (tmp_path / bad).write_text("no image")
    with pytest.raises(UserError, match=f"{bad}: not an image"):
        open_dataset(f"pairs:{tmp_path}")
    dataset = open_dataset(f"pairs:{tmp_path}", skip_bad=True)
    assert dataset.spec.count == 2
    found = rows_of(dataset, "pairs", "train", [0, 1])
    for field, folder, suffix in (("a", "A", "png"), ("b", "B", "bmp")):
        files = [tmp_path / folder / f"{number}.{suffix}" for number in (0, 2)]
        assert torch.equal(found[field], torch.stack([pixels(file) for file in files]))


def test_pairs_of_which_none_is_whole_and_folders_that_are_missing(tmp_path: Path) -> None:
    two_folders(tmp_path / "two", 2, "train")
    (tmp_path / "two" / "A" / "train" / "0.png").write_text("no image")
    (tmp_path / "two" / "B" / "train" / "1.bmp").write_text("no image")
    with pytest.raises(UserError, match="has no image that can be used in train"):
        open_dataset(f"pairs:{tmp_path}/two", skip_bad=True)
    for split in ("A/test", "B/test"):
        (tmp_path / "two" / split).mkdir()
        with pytest.raises(UserError, match=r"(A|B)/test' is (empty|not a folder)"):
            open_dataset(f"pairs:{tmp_path}/two")
        (tmp_path / "two" / split).rmdir()
    (tmp_path / "none" / "other").mkdir(parents=True)
    with pytest.raises(UserError, match=r"has neither the folder train.* nor the folders A and B"):
        open_dataset(f"pairs:{tmp_path}/none")
    with pytest.raises(UserError, match="nowhere' is not a folder"):
        open_dataset(f"pairs:{tmp_path}/nowhere")
    (tmp_path / "half" / "A").mkdir(parents=True)
    picture(tmp_path / "half" / "A" / "0.png")
    with pytest.raises(UserError, match="B' is not a folder"):
        open_dataset(f"pairs:{tmp_path}/half")


def test_streamed_pairs_are_the_same_rows_as_resident_ones(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    two_folders(tmp_path, 6)
    dataset, order = open_dataset(f"pairs:{tmp_path}"), [[4, 1], [0, 5], [3, 3]]
    kept = list(dataset.read("pairs", "train").batches(order))
    monkeypatch.setattr("gan_core.data.residency.RESIDENT_BYTES", 100)
    streamed = open_dataset(f"pairs:{tmp_path}").read("pairs", "train")
    assert isinstance(streamed, StreamedRows)
    for one, other in zip(kept, streamed.to(torch.device("cpu")).batches(order), strict=True):
        assert one.keys() == other.keys() == {"a", "b"}
        assert all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize("limit", [None, 100])
def test_each_table_has_a_fingerprint_of_its_own_data(
    limit: int | None, domains: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if limit is not None:
        monkeypatch.setattr("gan_core.data.residency.RESIDENT_BYTES", limit)
    before = fingerprints(f"unpaired:{domains}")
    assert fingerprints(f"unpaired:{domains}") == before
    picture(domains / "trainB" / "new.png", (10, 10), "L", seed=9)
    after = fingerprints(f"unpaired:{domains}")
    assert after["a"] == before["a"]
    assert after["b"] != before["b"]


def test_the_fingerprint_of_pairs_depends_on_which_belong_together(tmp_path: Path) -> None:
    two_folders(tmp_path, 2)
    before = fingerprints(f"pairs:{tmp_path}")
    for old, new in (("0.bmp", "x"), ("1.bmp", "0.bmp"), ("x", "1.bmp")):
        (tmp_path / "B" / old).rename(tmp_path / "B" / new)
    assert fingerprints(f"pairs:{tmp_path}") != before


def test_run_json_has_the_whole_description(domains: Path, tmp_path: Path) -> None:
    two_folders(tmp_path / "pairs", 2)
    for name in (f"unpaired:{domains}", f"pairs:{tmp_path}/pairs", "fashion-mnist", "stacked-mnist", "cifar10"):
        spec = open_dataset(name).spec
        of = {table: f"hash of {table}" for table in spec.tables}
        written = json.loads(json.dumps(described_data(spec, of)))
        assert spec_of(name, written) == spec
        assert fingerprints_of(written) == of
    with pytest.raises(ValueError, match=r"^data is "):
        spec_of("mnist", {"images": {"count": 3}})
