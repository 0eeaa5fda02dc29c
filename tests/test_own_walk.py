"""A folder of one's own pictures from the first look to the evaluation, with all that is odd in it."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from accelerate.state import AcceleratorState, GradientState
from typer.testing import CliRunner

from gan_core.cli.app import app
from tests.own_pictures import write_pictures
from tests.stylegan_rules import read_as_stylegan

Command = Callable[..., str]


@pytest.fixture
def command() -> Command:
    """Runs a command in this process, and returns what it prints."""

    def run(*words: object, expect: int = 0) -> str:
        AcceleratorState._reset_state(reset_partial_state=True)
        GradientState._reset_state()
        done = CliRunner().invoke(app, [str(word) for word in words], env={"COLUMNS": "400"}, catch_exceptions=False)
        assert done.exit_code == expect, done.output
        return done.output

    return run


def walk(command: Command, root: Path, each: int, train: tuple[object, ...], evaluate: tuple[object, ...]) -> Path:
    """Takes every step, and checks that each says what it does with the odd files; returns the run."""
    own, out = root / "pictures", root / "run"
    odd = write_pictures(own, each)
    converted = [
        f"{odd['16 bit']:,} of 16 bits are scaled to 8",
        f"{odd['transparent']:,} with transparency are laid on gray",
        f"{odd['not square']:,} that are not square are cropped at their centre",
    ]
    useless = [f"{own}/blue/half.png: ", f"{own}/gold/notes.txt: not an image"]

    said = command("data", "check", own, expect=1)
    assert "some files cannot be used: mend or remove them, or pass --skip-bad" in said
    assert all(line in said for line in useless)
    flags = ("--skip-bad", "--image-size", 16, "--channels", 3, "--background", "gray")
    said = command("data", "check", own, *flags, "--out", root / "sheet.png")
    assert all(line in said for line in [*converted, *useless, "training    would start"])
    assert f"images      {odd['left']:,}" in said

    said = command("data", "pack", own, *flags, "--out", root / "own.zip")
    assert all(line in said for line in [*converted, *useless, f"{odd['left']:,} images, 16 x 16 RGB, 5 classes"])
    images, labels = read_as_stylegan(root / "own.zip")
    assert images.shape == (odd["left"], 3, 16, 16)
    assert labels is not None
    assert np.bincount(labels).tolist() == [each, each, each, each, each + 1]

    acgan = ("train", "--variant", "acgan", "--out", out, *train)
    said = command(*acgan, "--dataset", f"folder:{own}", *flags, "--dry-run")
    assert ", ".join(converted) in said
    assert all(line in said for line in useless)
    said = command(*acgan, "--dataset", f"zip:{root}/own.zip")
    assert f"{odd['left']:,} images" in said
    metadata = json.loads((out / "run.json").read_text())
    assert (metadata["skipped_files"], metadata["converted_files"]) == (0, {})  # Packed images are plain.

    command("sample", out, "--label", "red", "--count", 16, "--out", root / "red")
    assert len(list((root / "red").iterdir())) == 16
    said = command("evaluate", out, *evaluate)
    assert "precision" in said
    return out


def test_sixty_pictures_from_the_first_look_to_the_evaluation(command: Command, tmp_path: Path) -> None:
    short = ("--steps", 2, "--batch", 16, "--set", "width=4", "--threads", 1)
    out = walk(command, tmp_path, 16, short, ("--samples", 64, "--features", "random"))
    assert (out / "evaluation.json").exists()


@pytest.mark.slow
def test_three_thousand_pictures_from_the_first_look_to_the_evaluation(
    command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gan_core.features.training._IMAGES", 10_000)
    length = ("--kimg", 3, "--batch", 32, "--set", "width=16", "--threads", 2)
    out = walk(command, tmp_path, 600, length, ("--samples", 500, "--small-fid"))
    assert (out / "evaluation.json").exists()
