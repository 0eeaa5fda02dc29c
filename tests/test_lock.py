"""One training at a time in a folder: a second one is refused, and a training without its launcher stops."""

import errno
import json
import os
import signal
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

from gan_core.errors import UserError
from gan_core.runs.folder import RunFolder
from gan_core.runs.lock import RunLock
from gan_core.runs.process import this_process
from tests.conftest import ROOT, command, difference, gan_core, metrics, start_gan_core, weights
from tests.launchers import started

TRAIN = (
    *("train", "--variant", "vanilla", "--set", "width=4", "--batch", "16", "--precision", "fp64"),
    *("--set", "log_every=0.032", "--sample-every", "1000", "--checkpoint-every", "1000"),
)


def wait_for(path: Path) -> None:
    until = time.monotonic() + 60
    while not path.exists():
        assert time.monotonic() < until
        time.sleep(0.02)


def test_the_same_command_twice_is_refused_with_who_trains_there(tmp_path: Path) -> None:
    run = tmp_path / "run"
    words = (*TRAIN, "--steps", 1_000_000, "--out", run)
    process = start_gan_core(*words)
    wait_for(run / "metrics.jsonl")
    for processes in (None, 2):
        output = gan_core(*words, processes=processes, expect=2 if processes is None else 1)
        assert f"is in use: process {process.pid} on " in output
        assert "Wait until it ends, or use another --out" in output
        assert "Traceback" not in output
    assert json.loads(gan_core("runs", tmp_path, "--json"))[0]["status"] == "running"
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=60)
    seen = json.loads((run / "run.json").read_text())["images_seen"]
    assert "resuming at" in gan_core(*TRAIN, "--steps", seen // 16 + 4, "--out", run)


def test_a_killed_training_leaves_no_lock(tmp_path: Path) -> None:
    run = tmp_path / "run"
    process = start_gan_core(*TRAIN, "--steps", 1_000_000, "--out", run)
    wait_for(run / "metrics.jsonl")
    process.kill()
    process.wait(60)
    assert "finished" in gan_core(*TRAIN, "--steps", 4, "--out", run)


def test_a_training_whose_launcher_was_killed_saves_and_stops(tmp_path: Path) -> None:
    run, undisturbed = tmp_path / "run", tmp_path / "undisturbed"
    words = (*TRAIN, "--out", run, "--set", "threads=1")
    with started(tmp_path, command(*words, "--steps", 1_000_000, processes=1)) as (launcher,):
        wait_for(run / "metrics.jsonl")
        (trains,) = psutil.Process(launcher.pid).children()
        launcher.kill()
        trains.wait(60)
    metadata = json.loads((run / "run.json").read_text())
    assert metadata["status"] == "interrupted"
    steps = metadata["images_seen"] // 16 + 4
    gan_core(*words, "--steps", steps)
    gan_core(*TRAIN, "--set", "threads=1", "--steps", steps, "--out", undisturbed)
    assert difference(weights(run), weights(undisturbed)) == 0
    # The stop has a line of its own.
    assert {line["step"] for line in metrics(run)} >= {line["step"] for line in metrics(undisturbed)}


def test_a_folder_in_which_nothing_was_written_is_removed(tmp_path: Path) -> None:
    with RunLock(RunFolder(tmp_path / "a" / "b")):
        assert (tmp_path / "a" / "b" / ".lock").exists()
    assert list(tmp_path.iterdir()) == []
    with RunLock(RunFolder(tmp_path / "a" / "b")):
        (tmp_path / "a" / "b" / "config.yaml").write_text("written")
    assert (tmp_path / "a" / "b" / "config.yaml").exists()


@pytest.mark.parametrize(
    ("holder", "refused"),
    [
        ({"status": "running", "process": "parent"}, True),
        ({"status": "finished", "process": "parent"}, False),
        ({"status": "running", "process": {"host": "elsewhere", "pid": 1, "started": 0.0}}, False),
        ({"status": "running", "process": {**this_process(), "started": 1.0}}, False),
        ({}, False),
    ],
)
def test_where_files_cannot_be_locked_the_process_in_run_json_counts(
    holder: dict[str, Any], refused: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lockf(handle: int, operation: int) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr("gan_core.runs.lock.fcntl.lockf", lockf)
    parent = psutil.Process(os.getppid())
    if holder.get("process") == "parent":
        holder = {**holder, "process": {**this_process(), "pid": parent.pid, "started": parent.create_time()}}
    folder = RunFolder(tmp_path)
    folder.write_metadata(**holder)
    if refused:
        with pytest.raises(UserError, match=f"is in use: process {parent.pid} on"):
            RunLock(folder).__enter__()
    else:
        with RunLock(folder):
            pass


def test_readers_need_no_lock() -> None:
    users = [path for path in (ROOT / "gan_core").rglob("*.py") if "RunLock(" in path.read_text()]
    assert [path.name for path in users] == ["training.py"]
