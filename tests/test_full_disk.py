"""A full disk stops the run with a message and leaves the last checkpoint intact. Tested on a small tmpfs."""

import errno
import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from gan_core.errors import DiskFullError, TrainingError
from gan_core.runs.atomic import write_atomically
from gan_core.runs.checkpoint import newest, save
from gan_core.runs.disk import explain_full_disk
from tests.conftest import difference, gan_core, weights

TRAIN = (
    *("train", "--variant", "vanilla", "--set", "width=48", "--batch", "32", "--set", "log_every=0.32"),
    *("--checkpoint-every", "0.32", "--sample-every", "1000", "--set", "keep_checkpoints=1000", "--precision", "fp64"),
)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 4 MB."""
    if os.geteuid() != 0:
        pytest.skip("needs root: it mounts a small tmpfs")
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", disk], capture_output=True, text=True, check=False
    )
    if mounted.returncode:
        pytest.skip(f"needs a tmpfs, which cannot be mounted here: {mounted.stderr.strip()}")
    yield disk
    subprocess.run(["umount", "--lazy", disk], check=True)


@pytest.mark.parametrize("processes", [None, pytest.param(2, marks=pytest.mark.slow)])
def test_a_full_disk_is_reported_before_a_checkpoint_is_written(
    small_disk: Path, tmp_path: Path, processes: int | None
) -> None:
    run = small_disk / "run"
    output = gan_core(*TRAIN, "--steps", 100_000, "--out", run, processes=processes, expect=1)
    assert re.search(rf"error: not enough space for a checkpoint of 0\.\d MB in '{run}/checkpoints': \d", output)
    assert "Earlier checkpoints are intact" in output
    if processes is None:
        assert "Traceback" not in output
    names = sorted(path.name for path in (run / "checkpoints").iterdir())
    assert len(names) > 2
    assert all(name.isdecimal() for name in names)
    found = newest(run / "checkpoints", pytest.fail)
    assert found is not None
    # With enough space, the same command resumes; a few more steps, so that the end can be compared.
    steps = found.images_seen // 32 + 10
    for name in names[:-1]:
        subprocess.run(["rm", "-r", run / "checkpoints" / name], check=True)
    assert f"resuming at {found.images_seen / 1000:g} kimg" in gan_core(*TRAIN, "--steps", steps, "--out", run)
    gan_core(*TRAIN, "--steps", steps, "--out", tmp_path / "straight")
    assert difference(weights(run), weights(tmp_path / "straight")) < (1e-15 if processes is None else 1e-9)


@pytest.mark.parametrize("kind", ["safetensors", "torch"])
def test_a_disk_that_fills_up_while_a_checkpoint_is_written_keeps_the_earlier_ones(
    small_disk: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    big = torch.ones(2_000_000)
    tensors, states = ({"net": {"w": big}}, {}) if kind == "safetensors" else ({}, {"opt": {"w": big}})
    save(small_disk, 10, {"net": {"w": torch.ones(9)}}, {})
    # Another process fills the disk after the check.
    monkeypatch.setattr("gan_core.runs.checkpoint.check_space", lambda folder, size: None)
    with pytest.raises(DiskFullError, match="is full"), explain_full_disk(small_disk):
        save(small_disk, 20, tensors, states)
    assert [path.name for path in small_disk.iterdir()] == ["000000010"]


def test_a_file_that_no_longer_fits_keeps_its_old_content(small_disk: Path) -> None:
    (small_disk / "run.json").write_text("old")
    with pytest.raises(DiskFullError, match="is full"), explain_full_disk(small_disk):
        write_atomically(small_disk / "run.json", bytes(8_000_000))
    assert [(path.name, path.read_text()) for path in small_disk.iterdir()] == [("run.json", "old")]


@pytest.mark.parametrize("there", [False, True])
def test_a_folder_that_is_removed_while_weights_are_written_is_one_error(there: bool, tmp_path: Path) -> None:
    if there:  # Only the checkpoint itself was removed.
        (tmp_path / "run" / "checkpoints").mkdir(parents=True)
    message = "cannot be written: .* The same command resumes" if there else "was removed while the run used it"
    with pytest.raises(TrainingError, match=message), explain_full_disk(tmp_path / "run"):
        save_file({"w": torch.ones(1)}, tmp_path / "run" / "checkpoints" / ".000000064.new" / "net.safetensors")


def test_other_errors_are_not_changed(tmp_path: Path) -> None:
    with pytest.raises(PermissionError), explain_full_disk(tmp_path):
        raise PermissionError(errno.EACCES, "no")
