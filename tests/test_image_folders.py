"""Image folders with everything that can lie in them: all of it is named at once, and `skip_bad` goes on without."""

import json
import os
import socket
import struct
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import ClassVar

import pytest
from PIL import Image, ImageFile

from gan_core.data.catalog import open_dataset
from gan_core.errors import UserError
from tests.conftest import gan_core
from tests.test_data import picture


def broken_link(folder: Path) -> str:
    (folder / "link.png").symlink_to("nowhere.png")
    return "link.png: a broken link"


def link_to_itself(folder: Path) -> str:
    (folder / "loop.png").symlink_to("loop.png")
    return "loop.png: a broken link"


def link_to_a_folder(folder: Path) -> str:
    (folder / "up").symlink_to(folder.parent)
    return "up: a link to a folder"


def pipe(folder: Path) -> str:
    os.mkfifo(folder / "pipe.png")
    return "pipe.png: a pipe, socket or device"


def unix_socket(folder: Path) -> str:
    before = Path.cwd()
    os.chdir(folder)  # The path of a socket has at most 107 bytes.
    try:
        with socket.socket(socket.AF_UNIX) as server:
            server.bind("socket.png")
    finally:
        os.chdir(before)
    return "socket.png: a pipe, socket or device"


def name_that_is_not_utf8(folder: Path) -> str:
    picture(folder / "a.png").rename(folder / os.fsdecode(b"caf\xe9.png"))
    return r"caf\udce9.png: its name is not UTF-8"


def truncated(folder: Path) -> str:
    path = picture(folder / "truncated.png")
    path.write_bytes(path.read_bytes()[:300])
    return "truncated.png: "


def empty(folder: Path) -> str:
    (folder / "empty.png").touch()
    return "empty.png: not an image"


def text(folder: Path) -> str:
    (folder / "notes.txt").write_text("hello")
    return "notes.txt: not an image"


def too_large(folder: Path) -> str:
    (folder / "bomb.png").write_bytes(b"P6 60000 60000 255\n" + bytes(100))
    return "bomb.png: Image size (3600000000 pixels) exceeds limit"


def unbounded(folder: Path) -> str:
    Image.new("F", (16, 16)).save(folder / "deep.tiff")
    return "deep.tiff: its mode is F; allowed: 1, L"


DAMAGES = [
    broken_link,
    link_to_itself,
    link_to_a_folder,
    pipe,
    unix_socket,
    name_that_is_not_utf8,
    truncated,
    empty,
    text,
    too_large,
    unbounded,
]


@pytest.fixture
def folder() -> Iterator[Path]:
    """Two classes of two images each; not below pytest's folders, which other users cannot read."""
    with tempfile.TemporaryDirectory() as made:
        root = Path(made)
        root.chmod(0o755)
        for name in ("cat", "dog"):
            for number in range(2):
                picture(root / name / f"good{number}.png", seed=number)
        yield root


@pytest.mark.parametrize("damage", DAMAGES)
def test_each_problem_is_named(folder: Path, damage: Callable[[Path], str], tmp_path: Path) -> None:
    expected = damage(folder / "cat")
    flags = ("--variant", "vanilla", "--dataset", f"folder:{folder}", "--steps", 1, "--batch", 4)
    output = gan_core("train", *flags, "--out", tmp_path / "run", expect=2, timeout=60)
    assert "of 5 files cannot be used" in output
    assert f"{folder}/cat/{expected}" in output
    assert "Traceback" not in output


def test_all_problems_are_named_at_once_and_can_be_left_out(folder: Path, tmp_path: Path) -> None:
    expected = [damage(folder / name) for damage in DAMAGES for name in ("cat", "dog")]
    flags = ("train", "--variant", "vanilla", "--dataset", f"folder:{folder}", "--batch", 4, "--steps", 2)
    output = gan_core(*flags, "--out", tmp_path / "run", expect=2)
    assert "dataset: 22 of 26 files cannot be used" in output
    assert sum(line in output for line in expected) >= 20
    assert "and 2 more" in output
    assert not (tmp_path / "run").exists()

    gan_core(*flags, "--set", "skip_bad=true", "--set", "width=4", "--out", tmp_path / "run")
    metadata = json.loads((tmp_path / "run" / "run.json").read_text())
    assert metadata["skipped_files"] == 22
    assert (metadata["data"]["images"]["count"], metadata["data"]["images"]["fields"]["labels"]["classes"]) == (4, 2)


def test_a_folder_that_cannot_be_read_is_named(folder: Path) -> None:
    secret = folder / "cat" / "secret"
    picture(secret / "c.png")
    secret.chmod(0o000)
    user = os.geteuid()
    if user == 0:
        os.seteuid(65534)  # Root may read everything.
    try:
        with pytest.raises(
            UserError, match=r"1 of 5 files cannot be used:\n  .*/cat/secret: cannot be read: Permission"
        ):
            open_dataset(f"folder:{folder}")
        assert open_dataset(f"folder:{folder}", skip_bad=True).spec.count == 4
    finally:
        os.seteuid(user)
    secret.chmod(0o755)


class OddImage(ImageFile.ImageFile):
    """A format whose decoder raises any exception."""

    format = "ODD"
    raises: ClassVar[Exception]
    early: ClassVar[bool]

    def _open(self) -> None:
        self._size, self._mode = (16, 16), "RGB"
        if self.early:
            raise self.raises

    def load(self) -> None:  # type: ignore[override]
        raise self.raises


@pytest.mark.parametrize("early", [True, False])
@pytest.mark.parametrize(
    "error", [struct.error("short"), IndexError("out"), RuntimeError(), MemoryError(), AssertionError("x"), KeyError(3)]
)
def test_any_error_of_a_decoder_is_named(
    folder: Path, error: Exception, early: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    Image.register_open("ODD", OddImage, lambda prefix: prefix.startswith(b"ODD!"))
    monkeypatch.setattr(OddImage, "raises", error, raising=False)
    monkeypatch.setattr(OddImage, "early", early, raising=False)
    (folder / "dog" / "odd.png").write_bytes(b"ODD! and more")
    with pytest.raises(UserError, match=r"1 of 5 files cannot be used:\n  .*/dog/odd\.png: "):
        open_dataset(f"folder:{folder}").read("images", "train")
    Image.OPEN.pop("ODD")
    Image.ID.remove("ODD")


def test_a_class_of_which_nothing_is_left_is_an_error(folder: Path) -> None:
    for path in (folder / "dog").iterdir():
        path.write_text("no image")
    with pytest.raises(UserError, match=r"class folder '.*/dog' has no image that can be used"):
        open_dataset(f"folder:{folder}", skip_bad=True)
