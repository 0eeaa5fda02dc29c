"""`gan_core data check`: what it counts, and that training starts exactly where it says so."""

import itertools
import json
import re
import shutil
import time
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
from PIL import Image
from rich.console import Console

from gan_core.app.data_check import check_data, named
from gan_core.app.data_rows import repeated
from gan_core.data import checked
from gan_core.data.catalog import open_dataset
from gan_core.errors import UserError
from gan_core.progress import progress
from tests.conftest import gan_core
from tests.evaluating import QUIET
from tests.own_pictures import write_pictures
from tests.test_data import picture


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("own") / "pictures"
    write_pictures(root, 12)
    return root


def test_a_folder_is_counted_in_one_pass(own: Path) -> None:
    report, sheet = check_data(str(own), {"image_size": 16, "channels": 3}, QUIET, sheet=True)
    assert report["data"] == f"folder:{own}"
    # 12 of each class, of which numbers 1 and 11 are not square, 2 transparent and 3 grey of 16 bits; and one copy.
    assert report["images"] == 61
    assert report["sizes"] == {"24 x 24": 51, "32 x 24": 10}
    assert report["modes"] == {"RGB": 51, "RGBA": 5, "I;16": 5}
    assert report["formats"] == {"PNG": 61}
    assert report["classes"] == {"blue": 12, "gold": 12, "green": 12, "pink": 12, "red": 13}
    assert report["repeats"] == [[f"{own}/red/00000.png", f"{own}/red/again.png"]]
    assert (report["repeated"], report["failing"], report["resident"]) == (1, 2, True)
    assert report["bytes"] == 61 * 3 * 16 * 16
    assert report["failures"] == [
        f"{own}/blue/half.png: image file is truncated",
        f"{own}/gold/notes.txt: not an image",
    ]
    assert report["converted"] == [
        "5 of 16 bits are scaled to 8",
        "5 with transparency are laid on white",
        "10 that are not square are cropped at their centre",
    ]
    assert sheet is not None
    assert sheet.height == 5 * 66 + 2  # A row of 64 pixels for each class.
    pixels = np.asarray(sheet).reshape(-1, 3)
    assert (abs(pixels.astype(int) - (230, 190, 40)).max(1) < 20).mean() > 0.05  # Gold.


FLAGS = {"skip_bad": True, "image_size": 16, "channels": 3}


@pytest.mark.parametrize("missing", [*FLAGS, None])
def test_it_refuses_what_training_refuses(missing: str | None, own: Path) -> None:
    options = {key: value for key, value in FLAGS.items() if key != missing}
    report, _ = check_data(str(own), options, QUIET, sheet=False)
    if missing is None:
        assert report["refused"] is None
        dataset = open_dataset(f"folder:{own}", **options)
        assert (dataset.spec.count, dataset.skipped) == (report["images"], report["failing"])
        return
    assert f"pass --{missing.replace('_', '-')}" in report["refused"]
    with pytest.raises(UserError):
        open_dataset(f"folder:{own}", **options)
    assert f"--{missing.replace('_', '-')}" in report["flags"]


def test_a_class_of_which_nothing_is_left_is_refused(tmp_path: Path) -> None:
    picture(tmp_path / "cat" / "a.png")
    (tmp_path / "dog").mkdir()
    (tmp_path / "dog" / "b.png").write_text("no image")
    report, _ = check_data(str(tmp_path), {"skip_bad": True}, QUIET, sheet=False)
    assert "dog' has no image that can be used" in report["refused"]
    with pytest.raises(UserError, match="dog' has no image that can be used"):
        open_dataset(f"folder:{tmp_path}", skip_bad=True)


def test_the_command_prints_it_and_its_exit_code_says_whether_training_would_start(
    own: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))  # In which nothing is remembered yet.
    output = gan_core("data", "check", own, expect=1)
    assert f"checking 63 images of {own}, once" in output
    assert f"{own}/gold/notes.txt: not an image" in output
    assert "would be refused: some files cannot be used" in output
    flags = ("--skip-bad", "--image-size", 16, "--channels", 3, "--background", "gray", "--crop", "none")
    output = gan_core("data", "check", own, *flags, "--out", tmp_path / "sheet.png", "--json")
    report = json.loads(output[output.index("{") :].rpartition("}")[0] + "}")
    assert report["refused"] is None
    assert report["converted"][1:] == [
        "5 with transparency are laid on gray",
        "10 that are not square are squeezed",
    ]
    with Image.open(tmp_path / "sheet.png") as sheet:
        assert (sheet.format, sheet.mode) == ("PNG", "RGB")


def test_other_data_sets_are_read_through_their_interface(tmp_path: Path) -> None:
    from sklearn.datasets import load_digits

    report, sheet = check_data("digits", {}, QUIET, sheet=True)
    labels, images = load_digits().target[:1500], load_digits().images[:1500]
    train, test = report["parts"]
    assert (train["rows"], test["rows"], train["images"]) == (1500, 297, {"images": "8 x 8 grey"})
    assert train["classes"] == {str(digit): int((labels == digit).sum()) for digit in range(10)}
    assert train["repeated"] == len(images) - len(np.unique(images.reshape(1500, -1), axis=0))
    assert sheet is not None

    for name in ("x", "y"):
        for folder in ("A", "B"):
            picture(tmp_path / folder / f"{name}.png", seed=len(folder))
    report, sheet = check_data(f"pairs:{tmp_path}", {}, QUIET, sheet=True)
    (part,) = report["parts"]
    assert (part["table"], part["rows"], part["classes"], part["repeated"]) == ("pairs", 2, {}, 1)
    assert part["images"] == {"a": "16 x 16 RGB", "b": "16 x 16 RGB"}


def test_a_path_is_a_folder_of_images_unless_a_data_set_has_that_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("digits", "cats"):
        (tmp_path / name).mkdir()
    given = ("digits", "cats", str(tmp_path / "digits"), "folder:cats", "mnist")
    assert [named(source) for source in given] == [
        *("digits", "folder:cats", f"folder:{tmp_path}/digits", "folder:cats", "mnist")
    ]


def test_the_bar_shows_counts_and_the_time_left() -> None:
    out = StringIO()
    console = Console(file=out, force_terminal=True, width=100)
    for number in progress(range(1234), 1234, "checking 1,234 files", console):
        if number % 200 == 100:
            time.sleep(0.3)  # Longer than the bar waits between two drawings.
    drawn = out.getvalue()
    assert re.search(r"checking 1,234 files .* [5-9]0\d/1234.*\d:\d\d:\d\d", drawn)


def test_the_bar_counts_images_where_blocks_of_them_are_read() -> None:
    out = StringIO()
    for _ in progress(range(3), 600, "reading", Console(file=out, force_terminal=True, width=100), each=256):
        time.sleep(0.15)
    assert {"256/600", "512/600", "600/600"} <= set(re.findall(r"\d+/600", out.getvalue()))


@pytest.mark.slow
def test_a_hundred_thousand_files_are_checked_in_a_minute_and_in_flat_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    random = np.random.default_rng(0)
    for number in range(1000):
        pixels = random.integers(0, 256, (8, 8, 3), np.uint8)
        first = tmp_path / "pictures" / "0" / f"{number:03d}.jpg"
        first.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).resize((64, 64), Image.Resampling.BICUBIC).save(first, quality=90)
        for copy in range(1, 100):
            path = tmp_path / "pictures" / str(copy) / first.name
            path.parent.mkdir(exist_ok=True)
            path.hardlink_to(first)
    memory, looked_at = [], itertools.count()
    examine = checked.examine

    def examined(*both: Any) -> Any:
        if next(looked_at) % 1000 == 0:
            memory.append(psutil.Process().memory_info().rss)
        return examine(*both)

    monkeypatch.setattr(checked, "examine", examined)
    before = time.monotonic()
    report, _ = check_data(str(tmp_path / "pictures"), {}, QUIET, sheet=False)
    assert time.monotonic() - before < 60
    assert (report["images"], report["repeated"], len(report["classes"])) == (100_000, 99_000, 100)
    assert len(memory) == 100
    assert max(memory[10:]) - memory[10] < 32 << 20


def test_equal_digests_are_found_among_many() -> None:
    random = np.random.default_rng(0)
    digests = random.integers(0, 256, (5000, 16), dtype=np.uint8)
    digests[:, 12:] = 0  # Trailing zeros are part of a digest.
    digests[4000], digests[4999], digests[17] = digests[3], digests[3], digests[16]
    digests[20, :8] = digests[21, :8]  # Half of a digest is none.
    assert repeated(digests) == [[3, 4000, 4999], [16, 17]]
    assert repeated(digests[:0]) == []


def test_many_files_are_counted_in_their_order(tmp_path: Path) -> None:
    for number in range(2100):
        (tmp_path / f"{number:04d}.png").write_bytes(b"no image")
    first = picture(tmp_path / "0000.png")
    for number in (700, 2099):
        shutil.copy(first, tmp_path / f"{number:04d}.png")
    report, _ = check_data(str(tmp_path), {"skip_bad": True}, QUIET, sheet=False)
    assert (report["images"], report["failing"], report["repeated"]) == (3, 2097, 2)
    assert report["repeats"] == [[str(tmp_path / f"{number:04d}.png") for number in (0, 700, 2099)]]
    assert report["failures"][-1] == "and 2077 more"
