"""Which checkpoints are kept; damaged ones never displace intact ones."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from gan_core.errors import UserError
from gan_core.runs.checkpoint import newest, save
from gan_core.runs.folder import RunFolder
from gan_core.runs.retention import prune
from gan_core.settings.settings import Settings
from tests.conftest import metrics

Train = Callable[..., str]


def write(folder: RunFolder, seen: int, metric: float = 0.0, **settings: object) -> None:
    """Logs, saves and prunes, as the training loop does at a checkpoint."""
    folder.append_metrics({"images_seen": seen, "generator/metric": metric})
    save(folder.checkpoints, seen, {"net": {"w": torch.full((2,), float(seen))}}, {"opt": {"step": seen}})
    prune(folder, Settings.model_validate({"variant": "any", **settings}), seen)


def numbers(folder: RunFolder) -> list[int]:
    return sorted(int(path.name) for path in folder.checkpoints.iterdir())


def folder_at(path: Path) -> RunFolder:
    folder = RunFolder(path)
    folder.create()
    return folder


def test_the_newest_are_kept(tmp_path: Path) -> None:
    folder = folder_at(tmp_path)
    for seen in (10, 20, 30):
        write(folder, seen, keep_checkpoints=2)
    assert numbers(folder) == [20, 30]
    (folder.checkpoints / ".000000040.new").mkdir()  # Left by a kill during writing.
    found = newest(folder.checkpoints, pytest.fail)
    assert found is not None
    assert found.tensors("net")["w"].tolist() == [30.0, 30.0]
    assert found.state("opt") == {"step": 30}


def test_damaged_checkpoints_never_displace_an_intact_one_and_are_not_removed(tmp_path: Path) -> None:
    folder = folder_at(tmp_path)
    for seen in (10, 20, 30):
        write(folder, seen, keep_checkpoints=9)
    for seen in (20, 30):
        (folder.checkpoints / f"{seen:09d}" / "net.safetensors").write_bytes(b"")
    (folder.checkpoints / ".000000040.new").mkdir()
    write(folder, 15, keep_checkpoints=1)
    assert numbers(folder) == [15, 20, 30]


def test_the_first_checkpoint_after_every_n_kimg_is_kept_permanently(tmp_path: Path) -> None:
    folder = folder_at(tmp_path)
    for seen in range(4_000, 60_000, 4_000):
        write(folder, seen, keep_checkpoints=1, keep_every=10)
    # Those at or just after 10, 20, 30, 40 and 50 kimg, and the newest.
    assert numbers(folder) == [12_000, 20_000, 32_000, 40_000, 52_000, 56_000]


def test_the_best_by_a_logged_metric_is_kept(tmp_path: Path) -> None:
    folder = folder_at(tmp_path)
    for seen, metric in enumerate([5.0, 2.0, 7.0, 3.0, 9.0, 4.0], 1):
        write(folder, seen, metric, keep_checkpoints=1, keep_lowest="generator/metric")
    assert numbers(folder) == [2, 6]
    for seen, metric in enumerate([6.0, 1.0], 7):
        write(folder, seen, metric, keep_checkpoints=1, keep_highest="generator/metric")
    assert numbers(folder) == [7, 8]  # Of the checkpoints that still exist.


def test_a_metric_that_the_run_does_not_log_is_refused_before_it_starts(tmp_path: Path, train: Train) -> None:
    with pytest.raises(UserError, match=r"keep_lowest: 'generator/adversary' .* Did you mean 'generator/adversarial'"):
        train("keep_lowest=generator/adversary", variant="dcgan", steps=2, out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_run_keeps_the_checkpoints_that_its_settings_name(tmp_path: Path, train: Train) -> None:
    keep = ("keep_checkpoints=1", "keep_lowest=generator/adversarial", "keep_every=0.256", "log_every=0.064")
    train(*keep, "width=4", "checkpoint_every=0.064", variant="dcgan", batch=32, steps=20, out=tmp_path / "run")
    lines = metrics(tmp_path / "run")
    best = min(lines, key=lambda line: line["generator/adversarial"])["images_seen"]
    assert numbers(RunFolder(tmp_path / "run")) == sorted({256, 512, 640, best})
