"""`gan_core data pack`: zips by the rules of stylegan3's loader, the pixels of training, and resuming after a kill."""

import hashlib
import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from zipfile import ZIP_STORED, ZipFile

import numpy as np
import pytest
import torch

from gan_core.app import pack as packing
from gan_core.app.pack import pack_dataset
from gan_core.data.catalog import open_dataset
from gan_core.errors import UserError
from tests.evaluating import QUIET
from tests.own_pictures import write_pictures
from tests.stylegan_rules import read_as_stylegan, write_as_stylegan
from tests.test_data import picture

FLAGS = {"image_size": 16, "channels": 3, "skip_bad": True}


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("own") / "pictures"
    write_pictures(root, 12)
    return root


def packed(name: str, out: Path, **options: object) -> list[str]:
    return list(pack_dataset(name, "train", options, out, QUIET))


def trained_on(name: str, **options: object) -> tuple[np.ndarray, list[int]]:
    """Returns the images and labels that training shows."""
    dataset = open_dataset(name, **options)  # type: ignore[arg-type]
    (rows,) = dataset.read("images", "train").batches([list(range(dataset.spec.count))])
    return rows["images"].numpy(), rows["labels"].tolist()


@pytest.mark.parametrize("crop", ["centre", "none"])
def test_stylegan_reads_the_images_that_training_shows(crop: str, own: Path, tmp_path: Path) -> None:
    options = FLAGS | {"crop": crop, "background": "black"}
    lines = packed(f"folder:{own}", tmp_path / "own.zip", **options)
    images, labels = read_as_stylegan(tmp_path / "own.zip")
    expected, numbers = trained_on(f"folder:{own}", **options)
    assert np.array_equal(images, expected)
    assert labels is not None
    assert labels.tolist() == numbers == [0] * 12 + [1] * 12 + [2] * 12 + [3] * 12 + [4] * 13
    assert lines == [
        f"{tmp_path}/own.zip: 61 images, 16 x 16 RGB, 5 classes: blue, gold, green, pink, red",
        "5 of 16 bits are scaled to 8",
        "5 with transparency are laid on black",
        "10 that are not square are " + ("squeezed" if crop == "none" else "cropped at their centre"),
        "2 files are left out:",
        f"  {own}/blue/half.png: image file is truncated",
        f"  {own}/gold/notes.txt: not an image",
    ]
    with ZipFile(tmp_path / "own.zip") as file:
        assert json.loads(file.read("dataset.json"))["class_names"] == ["blue", "gold", "green", "pink", "red"]


def test_the_file_is_the_one_that_stylegan_s_tool_would_write(tmp_path: Path) -> None:
    """Member by member: names, order, bytes of the PNGs and labels; digits has more than 1,000 images: two folders."""
    packed("digits", tmp_path / "ours.zip", image_size=8)
    expected, numbers = trained_on("digits")
    write_as_stylegan(tmp_path / "theirs.zip", expected.transpose(0, 2, 3, 1), numbers)
    with ZipFile(tmp_path / "ours.zip") as ours, ZipFile(tmp_path / "theirs.zip") as theirs:
        assert ours.namelist() == theirs.namelist()
        assert ours.namelist()[999:1001] == ["00000/img00000999.png", "00001/img00001000.png"]
        assert all(member.compress_type == ZIP_STORED for member in ours.infolist())
        for name in ours.namelist()[:-1]:
            assert ours.read(name) == theirs.read(name)
        assert json.loads(ours.read("dataset.json"))["labels"] == json.loads(theirs.read("dataset.json"))["labels"]


def test_images_without_classes_have_no_labels(tmp_path: Path) -> None:
    for number in range(3):
        picture(tmp_path / "loose" / f"{number}.png", seed=number)
    lines = packed(f"folder:{tmp_path}/loose", tmp_path / "loose.zip", image_size=12)
    assert read_as_stylegan(tmp_path / "loose.zip")[1] is None
    assert lines[0].endswith("3 images, 12 x 12 RGB, no labels")
    assert lines[-1] == "StyleGAN's own networks need a power of two, which 12 is not"


def test_what_cannot_be_packed_is_refused(own: Path, tmp_path: Path) -> None:
    out = tmp_path / "own.zip"
    with pytest.raises(UserError, match=r"2 of 63 files cannot be used:\n.*half\.png: image file is truncated"):
        packed(f"folder:{own}", out, image_size=16, channels=3)
    with pytest.raises(UserError, match=r"split: 'digits' has no 'tests'\. Did you mean 'test'"):
        list(pack_dataset("digits", "tests", {}, out, QUIET))
    for folder in ("A", "B"):
        picture(tmp_path / "two" / folder / "a.png")
    with pytest.raises(UserError, match="one image per row, but this has a, b"):
        packed(f"pairs:{tmp_path}/two", out)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["two"]
    out.write_text("mine")
    with pytest.raises(UserError, match="already exists"):
        packed(f"folder:{own}", out, **FLAGS)
    assert out.read_text() == "mine"


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_a_killed_packing_goes_on_and_ends_with_the_same_bytes(
    own: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    packed(f"folder:{own}", tmp_path / "whole.zip", **FLAGS)  # In one part.
    out, parts = tmp_path / "own.zip", tmp_path / "own.zip.parts"
    code = (
        "import sys, time\nfrom pathlib import Path\nfrom gan_core.app import pack\n"
        "from gan_core.console import PlainConsole\n"
        "pack._PART, png = 4, pack._png\n"
        "pack._png = lambda image: (time.sleep(0.02), png(image))[1]\n"  # So that it can be killed in the middle.
        f"options = {FLAGS}\n"
        "list(pack.pack_dataset(sys.argv[1], 'train', options, Path(sys.argv[2]), PlainConsole()))\n"
    )
    process = subprocess.Popen([sys.executable, "-c", code, f"folder:{own}", str(out)])
    deadline = time.monotonic() + 120
    while len(list(parts.glob("*.zip"))) < 3:
        assert time.monotonic() < deadline
        assert process.poll() is None
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.wait()
    there = {path: path.stat().st_mtime_ns for path in parts.glob("[0-9]*.zip")}
    assert 3 <= len(there) < 16
    assert not out.exists()

    monkeypatch.setattr(packing, "_PART", 4)
    written: list[Path] = []
    write = packing._write_parts
    monkeypatch.setattr(packing, "_write_parts", lambda rows, blocks: (written.extend(blocks), write(rows, blocks))[1])
    lines = packed(f"folder:{own}", out, **FLAGS)
    assert lines[0] == f"{len(there)} of 16 parts are there from before"
    assert len(written) == 16 - len(there)
    assert not set(written) & set(there)
    assert digest(out) == digest(tmp_path / "whole.zip")
    assert not parts.exists()

    parts.mkdir()  # As after a kill at the very end.
    assert packed(f"folder:{own}", out, **FLAGS) == [f"{out} is complete from before"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["own.zip", "whole.zip"]


def test_parts_of_other_images_or_settings_are_not_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(8):
        picture(tmp_path / "own" / f"{number}.png", (20, 16), seed=number)
    monkeypatch.setattr(packing, "_PART", 4)

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(packing, "_join", interrupted)
        with pytest.raises(KeyboardInterrupt):
            packed(f"folder:{tmp_path}/own", tmp_path / "own.zip", image_size=8)
    picture(tmp_path / "own" / "0.png", (20, 16), seed=99)
    assert "there from before" not in packed(f"folder:{tmp_path}/own", tmp_path / "own.zip", image_size=8)[0]
    packed(f"folder:{tmp_path}/own", tmp_path / "again.zip", image_size=8)
    assert digest(tmp_path / "own.zip") == digest(tmp_path / "again.zip")
    packed(f"folder:{tmp_path}/own", tmp_path / "other.zip", image_size=8, crop="none")
    assert digest(tmp_path / "own.zip") != digest(tmp_path / "other.zip")


def test_a_damaged_part_is_named_and_made_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(8):
        picture(tmp_path / "own" / f"{number}.png", seed=number)
    monkeypatch.setattr(packing, "_PART", 4)
    join = packing._join

    def damage(paths: list[Path], *rest: object) -> None:
        content = bytearray(paths[1].read_bytes())
        content[300] ^= 1
        paths[1].write_bytes(content)
        join(paths, *rest)  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        patch.setattr(packing, "_join", damage)
        with pytest.raises(UserError, match=r"the part '.*00000004-.*\.zip' is damaged .* was removed"):
            packed(f"folder:{tmp_path}/own", tmp_path / "own.zip", image_size=16)
    assert (
        packed(f"folder:{tmp_path}/own", tmp_path / "own.zip", image_size=16)[0] == "1 of 2 parts are there from before"
    )
    images, _ = read_as_stylegan(tmp_path / "own.zip")
    assert len(images) == 8


def test_our_zip_data_set_reads_their_zips_and_ours(own: Path, tmp_path: Path) -> None:
    expected, numbers = trained_on(f"folder:{own}", **FLAGS)
    write_as_stylegan(tmp_path / "theirs.zip", expected.transpose(0, 2, 3, 1), numbers)
    packed(f"folder:{own}", tmp_path / "ours.zip", **FLAGS)
    for name in ("theirs", "ours"):
        images, labels = trained_on(f"zip:{tmp_path}/{name}.zip")
        assert torch.equal(torch.from_numpy(images), torch.from_numpy(expected))
        assert labels == numbers
    assert open_dataset(f"zip:{tmp_path}/ours.zip").spec.class_names == ("blue", "gold", "green", "pink", "red")
