"""Runs and image folders that were moved or copied: a config file means its own folder, and data may be elsewhere."""

import shutil
from pathlib import Path

import pytest
import torch

from gan_core.sampling.files import picture
from tests.conftest import difference, gan_core, metrics, weights

SMALL = ("--variant", "dcgan", "--set", "width=4", "--batch", 16, "--set", "log_every=0.016")


@pytest.fixture
def images(tmp_path: Path) -> Path:
    folder = tmp_path / "images"
    folder.mkdir()
    for number in range(100):
        picture(torch.full((1, 8, 8), number * 2, dtype=torch.uint8)).save(folder / f"{number:03d}.png")
    return folder


@pytest.mark.parametrize("move", [shutil.move, shutil.copytree])
def test_the_config_of_a_moved_run_continues_it_where_it_is_now(move: object, tmp_path: Path) -> None:
    there, here = tmp_path / "there", tmp_path / "deep" / "here"
    here.parent.mkdir()
    gan_core("train", *SMALL, "--steps", 4, "--out", there)
    move(there, here)  # type: ignore[operator]
    before = weights(there) if there.exists() else None
    output = gan_core("train", "--config", here / "config.yaml", "--steps", 6)
    assert f"resuming at 0.064 kimg from {here}/checkpoints/000000064" in output
    assert [line["step"] for line in metrics(here)] == [1, 2, 3, 4, 5, 6]
    assert there.exists() == (before is not None)
    if before is not None:
        assert difference(before, weights(there)) == 0
        assert len(metrics(there)) == 4
    gan_core("train", "--config", here / "config.yaml", "--steps", 2, "--out", tmp_path / "new")
    assert len(metrics(tmp_path / "new")) == 2


def test_an_image_folder_may_be_moved(images: Path, tmp_path: Path) -> None:
    run, moved = tmp_path / "run", tmp_path / "moved"
    gan_core("train", *SMALL, "--dataset", f"folder:{images}", "--steps", 2, "--out", run)
    images.rename(moved)
    evaluate = ("evaluate", run, "--samples", 64, "--features", "random")
    assert "no such folder" in gan_core(*evaluate, expect=2) or "not a folder" in gan_core(*evaluate, expect=2)
    assert "precision" in gan_core(*evaluate, "--dataset", f"folder:{moved}")
    output = gan_core("train", *SMALL, "--dataset", f"folder:{moved}", "--steps", 4, "--out", run)
    assert "resuming at 0.032 kimg" in output
    (moved / "000.png").unlink()
    assert "was trained on other data" in gan_core(*evaluate, "--dataset", f"folder:{moved}", expect=2)
    refused = gan_core("train", *SMALL, "--dataset", f"folder:{moved}", "--steps", 6, "--out", run, expect=2)
    assert "has different settings" in refused
