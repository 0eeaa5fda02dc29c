"""Files are replaced whole: after errors and kills the old content is there, and two writers never mix theirs."""

import errno
import subprocess
import sys
from pathlib import Path

import pytest

from gan_core.runs.atomic import replacing, write_atomically
from gan_core.runs.folder import RunFolder
from tests.conftest import ROOT

KILLED = """
import os, signal, sys
from pathlib import Path
from gan_core.runs.atomic import replacing
with replacing(Path(sys.argv[1])) as new:
    new.write_text("half of the n")
    os.kill(os.getpid(), signal.SIGKILL)
"""

WRITER = """
import sys
from pathlib import Path
from gan_core.runs.atomic import write_atomically
print("ready", flush=True)
for _ in range(100):
    write_atomically(Path(sys.argv[1]), sys.argv[2].encode() * 1_000_000)
"""


@pytest.fixture
def target(tmp_path: Path) -> Path:
    path = tmp_path / "run" / "run.json"
    path.parent.mkdir()
    path.write_text("old")
    return path


def contents(folder: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in folder.iterdir() if path.is_file()}


def test_text_and_bytes_replace_what_was_there(target: Path) -> None:
    write_atomically(target, "näu\n")
    assert target.read_bytes() == b"n\xc3\xa4u\n"
    write_atomically(target, b"\x00\xff")
    assert target.read_bytes() == b"\x00\xff"
    assert [path.name for path in target.parent.iterdir()] == ["run.json"]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_an_exception_leaves_the_old_content_and_nothing_else(target: Path, error: type[BaseException]) -> None:
    def fails_halfway() -> None:
        with replacing(target) as new:
            new.write_text("half of the n")
            raise error

    with pytest.raises(error):
        fails_halfway()
    assert contents(target.parent) == {"run.json": "old"}


def test_content_that_does_not_reach_the_disk_replaces_nothing(target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(handle: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr("os.fsync", fails)
    with pytest.raises(OSError, match="Input/output error"):
        write_atomically(target, "new")
    assert contents(target.parent) == {"run.json": "old"}


def test_a_kill_leaves_the_old_content_and_what_the_next_start_removes(target: Path) -> None:
    sample = target.parent / "samples" / "000000128.png"
    sample.parent.mkdir()
    for path in (target, target, sample):
        done = subprocess.run([sys.executable, "-c", KILLED, path], cwd=ROOT, check=False)
        assert done.returncode == -9
    (target.parent / ".notes.new").write_text("the user's")
    left = contents(target.parent)
    assert left.pop("run.json") == "old"
    assert sorted(left.values()) == ["half of the n", "half of the n", "the user's"]
    assert len(list(sample.parent.glob(".*.new"))) == 1  # tests/test_kills.py looks for these.
    RunFolder(target.parent).create()
    assert contents(target.parent) == {"run.json": "old", ".notes.new": "the user's"}
    assert list(sample.parent.iterdir()) == []


def test_two_processes_that_write_at_once_never_mix(target: Path) -> None:
    words = [sys.executable, "-c", WRITER, target]
    writers = [subprocess.Popen([*words, letter], cwd=ROOT, stdout=subprocess.PIPE) for letter in "ab"]
    for writer in writers:
        assert writer.stdout is not None
        assert writer.stdout.readline() == b"ready\n"
    seen = []
    while any(writer.poll() is None for writer in writers):
        seen.append(target.read_bytes())
    assert [writer.communicate() and writer.returncode for writer in writers] == [0, 0]
    new = {b"a" * 1_000_000, b"b" * 1_000_000}
    assert set(seen) <= {b"old", *new}
    assert target.read_bytes() in new
    assert [path.name for path in target.parent.iterdir()] == ["run.json"]
