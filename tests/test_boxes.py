"""Boxes of images, each a real file of its own library: the same rows from all, and what is damaged is named."""

import json
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from gan_core.data.catalog import open_dataset
from gan_core.data.names import Names
from gan_core.errors import UserError
from gan_core.testing.dataset_kit import dataset_checks_of
from tests.boxes import BOXES, COUNT, LABELS, image, npy, npz, parquet, png, shards, zipped
from tests.test_streaming import workers_of

PIXELS = torch.from_numpy(np.stack([image(at).transpose(2, 0, 1) for at in range(COUNT)]))


@pytest.fixture(autouse=True)
def _offline(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import datasets

    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "hf")
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    datasets.disable_progress_bars()


@pytest.mark.parametrize("kind", BOXES)
@pytest.mark.parametrize("options", [{}, {"resident": "no", "workers": 0}])
def test_every_box_has_the_same_rows(kind: str, options: dict[str, object], tmp_path: Path) -> None:
    dataset = open_dataset(f"{kind}:{BOXES[kind](tmp_path)}", **options)
    assert dataset.splits == {"train": {"images": COUNT}}
    assert dataset.spec.image().shape == (3, 8, 8)
    assert dataset.spec.classes == (0 if kind == "npy" else 2)
    assert dataset.spec.class_names == {"hf": ("even", "odd"), "npy": ()}.get(kind, ("0", "1"))
    (rows,) = dataset.read("images", "train").batches([np.array([11, 0, 5])])
    assert torch.equal(rows["images"], PIXELS[[11, 0, 5]])
    if kind != "npy":
        assert rows["labels"].tolist() == [LABELS[11], LABELS[0], LABELS[5]]


@pytest.mark.parametrize("kind", ["zip", "hf", "npy"])
def test_workers_decode_every_box_without_torch(kind: str, tmp_path: Path) -> None:
    rows = open_dataset(f"{kind}:{BOXES[kind](tmp_path)}", resident="no", workers=1).read("images", "train")
    (batch,) = rows.batches([[5]])
    assert torch.equal(batch["images"], PIXELS[[5]])
    (worker,) = workers_of(rows)
    assert not any("torch" in one.path for one in worker.memory_maps())


@pytest.mark.parametrize("kind", BOXES)
def test_every_box_is_a_good_data_set(kind: str, tmp_path: Path) -> None:
    name = f"{kind}:{BOXES[kind](tmp_path)}"
    for check in dataset_checks_of(name, {"resident": "no", "workers": 0}):
        if check.name != "imports_quietly":
            check()


def refused(name: str, message: str, **options: object) -> None:
    with pytest.raises(UserError, match=message):
        open_dataset(name, **options)


def left(name: str, **options: object) -> list[int]:
    """Returns which images are left with `skip_bad`."""
    dataset = open_dataset(name, skip_bad=True, **options)
    (rows,) = dataset.read("images", "train").batches([list(range(dataset.spec.count))])
    return [int((one == PIXELS).flatten(1).all(1).nonzero().item()) for one in rows["images"]]


def test_a_zip_with_a_bad_checksum_is_named(tmp_path: Path) -> None:
    path = zipped(tmp_path)
    content = bytearray(path.read_bytes())
    at = content.index(png(3)) + 60
    content[at] ^= 255
    path.write_bytes(content)
    refused(f"zip:{path}", r"1 of 12 files cannot be used:\n  .*img00000003\.png: its checksum \(CRC-32\) is wrong")
    assert left(f"zip:{path}") == [at for at in range(COUNT) if at != 3]


def test_a_zip_may_be_compressed_and_names_what_is_no_image(tmp_path: Path) -> None:
    path = zipped(tmp_path, zipfile.ZIP_DEFLATED)
    assert open_dataset(f"zip:{path}").spec.count == COUNT
    with zipfile.ZipFile(path, "a") as box:
        box.writestr("__MACOSX/._a.png", b"hidden")
        box.writestr(".DS_Store", b"hidden")
        box.writestr("readme.txt", b"hello")
    refused(f"zip:{path}", r"1 of 13 files cannot be used:\n  .*readme\.txt: not an image")
    with zipfile.ZipFile(path, "w") as box:
        box.writestr("a.png", png(0))
        box.writestr("readme.txt", b"hello")
    refused(f"zip:{path}", r"1 of 2 files cannot be used:\n  .*readme\.txt: not an image")
    assert left(f"zip:{path}") == [0]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"{", r"dataset\.json cannot be read"),
        (json.dumps({"labels": [["a.png", [0.5, 0.5]]]}), r"has the label \[0\.5, 0\.5\]\. Allowed"),
        (json.dumps({"labels": [["a.png", -1]]}), r"has the label -1\. Allowed"),
        (json.dumps({"labels": [["a.png", 2]], "class_names": ["x", "y"]}), "label 2, but names of 2 classes"),
    ],
)
def test_labels_of_a_zip_that_do_not_fit_are_named(content: str, message: str, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as box:
        box.writestr("a.png", png(0))
        box.writestr("dataset.json", content)
    refused(f"zip:{tmp_path}/a.zip", message)


def test_class_names_of_a_zip_are_shown_and_labels_may_be_null(tmp_path: Path) -> None:
    for labels, names, found in (([["a.png", 1]], ["x", "y"], ("x", "y")), (None, None, ())):
        with zipfile.ZipFile(tmp_path / "a.zip", "w") as box:
            box.writestr("a.png", png(0))
            box.writestr("dataset.json", json.dumps({"labels": labels, "class_names": names}))
        assert open_dataset(f"zip:{tmp_path}/a.zip").spec.class_names == found


@pytest.mark.parametrize("kind", ["zip", "npz", "npy", "hf", "webdataset"])
@pytest.mark.parametrize("what", ["absent", "cut"])
def test_a_file_that_is_no_box_is_an_error(kind: str, what: str, tmp_path: Path) -> None:
    if what == "absent":
        refused(f"{kind}:{tmp_path}/nothing", "nothing")
        return
    pattern = BOXES[kind](tmp_path)
    path = next(tmp_path.glob("box*"))
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    refused(f"{kind}:{pattern}", path.name)


def test_a_truncated_shard_is_named_and_its_whole_images_can_be_used(tmp_path: Path) -> None:
    pattern = shards(tmp_path)
    shard = tmp_path / "box-001.tar"
    content = shard.read_bytes()
    shard.write_bytes(content[: content.index(png(6)) + 100])
    refused(f"webdataset:{pattern}", r"box-001\.tar: is cut off, or no tar")
    assert left(f"webdataset:{pattern}") == [0, 1, 2, 3, 4, 5, 8, 9, 10, 11]
    shard.write_bytes(content[: content.index(png(7)) + -(-len(png(7)) // 512) * 512])
    refused(f"webdataset:{pattern}", r"box-001\.tar: has no end mark: it is cut off")


def test_samples_without_image_or_label_are_named(tmp_path: Path) -> None:
    from webdataset import TarWriter

    with TarWriter(str(tmp_path / "a.tar")) as shard:
        shard.write({"__key__": "a", "png": png(0), "cls": b"cat"})
        shard.write({"__key__": "b", "cls": b"dog"})
        shard.write({"__key__": "c", "png": png(2)})
        shard.write({"__key__": "d", "mask.png": png(3), "png": b"no picture", "cls": b"dog"})
    name = f"webdataset:{tmp_path}/*.tar"
    refused(name, r"(?s)3 of 4 files .*a\.tar: b: has no image.*a\.tar: c\.png: has no label.*d\.png: not an image")
    dataset = open_dataset(name, skip_bad=True)
    assert (dataset.spec.count, dataset.skipped, dataset.spec.class_names) == (1, 3, ("cat", "dog"))
    refused(name, "no sample of .* has a member 'json'", label_column="json")
    assert left(name, image_column="mask.png") == [3]


def test_a_parquet_row_without_an_image_is_named(tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    rows = [{"bytes": png(at), "path": None} for at in range(3)]
    for at, broken in ((0, None), (2, {"bytes": b"no picture", "path": None})):
        rows[at] = broken  # type: ignore[call-overload]
    pq.write_table(pa.table({"image": rows, "label": ["a", "b", "a"]}), tmp_path / "a.parquet")
    name = f"hf:{tmp_path}/a.parquet"
    refused(name, r"2 of 3 files cannot be used:\n  .*row 0: has no image\n  .*row 2: not an image")
    assert left(name) == [1]
    assert open_dataset(name, skip_bad=True).spec.class_names == ("a", "b")


def test_columns_are_chosen_by_name(tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = {"picture": [{"bytes": png(at), "path": None} for at in (4, 5)], "kind": [1, 0]}
    pq.write_table(pa.table(table), tmp_path / "a.parquet")
    name = f"hf:{tmp_path}/a.parquet"
    refused(name, r"image_column: which column .* Name it: picture, kind")
    refused(name, r"has no column 'pictures'\. Did you mean 'picture'\?", image_column="pictures")
    dataset = open_dataset(name, image_column="picture", label_column="kind")
    (rows,) = dataset.read("images", "train").batches([[0, 1]])
    assert (rows["labels"].tolist(), torch.equal(rows["images"], PIXELS[4:6])) == ([1, 0], True)
    refused(
        f"zip:{zipped(tmp_path)}", "image_column: 'x' is not allowed for .*, which has no columns", image_column="x"
    )
    refused(f"npz:{npz(tmp_path)}", r"has no array 'y'.* Allowed: arr_0, arr_1", label_column="y")


def test_splits_and_saved_folders_of_the_library(tmp_path: Path) -> None:
    from datasets import Dataset, DatasetDict, Features
    from datasets import Image as Images

    def rows(numbers: range) -> Dataset:
        pictures = [{"bytes": png(at), "path": None} for at in numbers]
        return Dataset.from_dict({"img": pictures}, features=Features({"img": Images()}))

    DatasetDict(train=rows(range(4)).select([3, 1]), test=rows(range(4, 7))).save_to_disk(tmp_path / "saved")
    dataset = open_dataset(f"hf:{tmp_path}/saved")
    assert dataset.splits == {"train": {"images": 2}, "test": {"images": 3}}
    (train,) = dataset.read("images", "train").batches([[0, 1]])
    (test,) = dataset.read("images", "test").batches([[2]])
    assert torch.equal(torch.cat([train["images"], test["images"]]), PIXELS[[3, 1, 6]])


def test_arrays_of_other_layouts_and_what_is_refused(tmp_path: Path) -> None:
    path, grey = tmp_path / "a.npy", np.arange(2 * 5 * 6, dtype=np.uint8).reshape(2, 5, 6)
    for array, shape in ((grey, (1, 5, 6)), (grey[..., None].repeat(3, 3).transpose(0, 3, 1, 2).copy(), (3, 5, 6))):
        np.save(path, array)
        dataset = open_dataset(f"npy:{path}", resident="no", workers=0)
        assert dataset.spec.image().shape == shape
        (rows,) = dataset.read("images", "train").batches([[1]])
        assert rows["images"][0, -1].tolist() == grey[1].tolist()
    np.save(path, grey.astype(np.float32))
    refused(f"npy:{path}", r"has float32 of 2 x 5 x 6\. Allowed: uint8")
    np.save(path, np.asfortranarray(grey))
    refused(f"npy:{path}", "Fortran order")
    np.savez_compressed(tmp_path / "a.npz", arr_0=grey)
    refused(f"npz:{tmp_path}/a.npz", "is compressed")
    np.savez(tmp_path / "a.npz", arr_0=grey, arr_1=np.arange(3))
    refused(f"npz:{tmp_path}/a.npz", "has 2 images, but labels of 3")
    content = bytearray(npz(tmp_path).read_bytes())
    content[content.index(image(7).tobytes()) + 3] ^= 1
    (tmp_path / "box.npz").write_bytes(content)
    refused(f"npz:{tmp_path}/box.npz", r"checksum \(CRC-32\) of its images is wrong")


def test_a_resized_array_is_what_pillow_makes_of_it(tmp_path: Path) -> None:
    dataset = open_dataset(f"npy:{npy(tmp_path)}", image_size=4, channels=1)
    (rows,) = dataset.read("images", "train").batches([[2]])
    expected = Image.fromarray(image(2)).convert("L").resize((4, 4), Image.Resampling.BICUBIC)
    assert rows["images"][0, 0].tolist() == np.array(expected).tolist()


def test_fingerprints_change_with_the_content_and_not_with_the_place(tmp_path: Path) -> None:
    def of(path: Path, **options: object) -> str:
        return open_dataset(f"zip:{path}", **options).read("images", "train").fingerprint

    path = zipped(tmp_path)
    before = of(path)
    assert of(path, resident="no", workers=0) == before
    assert of(path.rename(tmp_path / "moved.zip")) == before
    zipped(tmp_path, zipfile.ZIP_DEFLATED)
    assert of(path) == before
    with zipfile.ZipFile(path, "w") as box:
        box.writestr("a.png", png(0))
    assert of(path) != before


def test_names_are_kept_as_they_are() -> None:
    words = ["", "a", "caf\udce9.png", "日本"]
    assert list(Names.of(words)) == words


def test_hf_parquet_is_what_the_library_reads(tmp_path: Path) -> None:
    from datasets import load_dataset

    path = parquet(tmp_path)
    theirs = load_dataset("parquet", data_files=str(path))["train"][7]
    (ours,) = open_dataset(f"hf:{path}").read("images", "train").batches([[7]])
    assert ours["images"][0].permute(1, 2, 0).tolist() == np.array(theirs["image"]).tolist()


def odd_boxes(root: Path) -> list[str]:
    """Writes a transparent, a deep and a wide picture in every kind of box, in this order; returns the data sets."""
    import pyarrow as pa
    import pyarrow.parquet as pq
    from webdataset import TarWriter

    folder = root / "folder"
    folder.mkdir()
    Image.new("RGBA", (8, 8), (200, 100, 0, 51)).save(folder / "0.png")  # A fifth of it is opaque.
    Image.fromarray(np.full((8, 8), 257 * 7, dtype=np.uint16)).save(folder / "1.png")
    Image.fromarray(np.repeat(np.uint8([[0, 0, 200, 200, 200, 200, 0, 0]]), 4, axis=0)).save(folder / "2.png")
    files = [path.read_bytes() for path in sorted(folder.iterdir())]
    with zipfile.ZipFile(root / "a.zip", "w") as box, TarWriter(str(root / "a.tar")) as shard:
        for at, content in enumerate(files):
            box.writestr(f"{at}.png", content)
            shard.write({"__key__": str(at), "png": content})
    pq.write_table(pa.table({"image": [{"bytes": content, "path": None} for content in files]}), root / "a.parquet")
    return [f"folder:{folder}", f"zip:{root}/a.zip", f"webdataset:{root}/a.tar", f"hf:{root}/a.parquet"]


LOOKS: list[dict[str, object]] = [{}, {"background": "black"}, {"crop": "none"}]


@pytest.mark.parametrize(
    ("kept", "looks"), [({"resident": "yes"}, LOOKS), ({"resident": "no", "workers": 1}, LOOKS[1:2])]
)
def test_odd_pictures_are_converted_alike_in_every_box_and_in_workers(
    kept: dict[str, object], looks: list[dict[str, object]], tmp_path: Path
) -> None:
    fingerprints: dict[str, set[str]] = {}
    for name in odd_boxes(tmp_path):
        for look in looks:
            dataset = open_dataset(name, image_size=4, channels=3, **look, **kept)
            assert dataset.converted == {"16 bit": 1, "transparent": 1, "not square": 1}
            rows = dataset.read("images", "train")
            ((glass, deep, wide),) = (batch["images"].int() for batch in rows.batches([[0, 1, 2]]))
            expected = (40, 20, 0) if "background" in look else (244, 224, 204)
            assert (glass - torch.tensor(expected).view(3, 1, 1)).abs().max() <= 1
            assert deep.unique().tolist() == [7]
            assert (wide[0, 0, 0] < 50) if "crop" in look else (wide == 200).all()
            fingerprints.setdefault(str(look), set()).add(rows.fingerprint)
    # The same in every box, and another one for each colour and crop: nothing computed from one is taken for another.
    assert all(len(found) == 1 for found in fingerprints.values())
    assert len(set.union(*fingerprints.values())) == len(looks)


def test_an_array_is_squeezed_or_cropped_and_its_fingerprint_says_so(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.repeat(np.uint8([[[0, 0, 200, 200, 200, 200, 0, 0]]]), 4, axis=1))
    found = {}
    for crop in ("centre", "none"):
        dataset = open_dataset(f"npy:{tmp_path}/a.npy", image_size=4, crop=crop)
        assert dataset.converted == {"not square": 1}
        (batch,) = (rows := dataset.read("images", "train")).batches([[0]])
        found[rows.fingerprint] = batch["images"].float().mean().item()
    assert list(found.values()) == [200, pytest.approx(100, abs=1)]
