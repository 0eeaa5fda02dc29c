"""Small faults around a run: what they print, and that they lose nothing."""

import json
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from gan_core.app.load import load_run
from gan_core.runs.checkpoint import Checkpoint, newest
from tests import forked
from tests.conftest import ROOT, gan_core, metrics, start_gan_core
from tests.test_plugin_loading import install

Train = Callable[..., str]
TRAIN = ("train", "--variant", "vanilla", "--set", "width=4", "--batch", "16", "--set", "log_every=0.016")


def test_learning_rates_are_logged(tmp_path: Path, train: Train) -> None:
    train("width=4", "log_every=0.016", "lr=0.1", "lr_schedule=linear", "lr_decay_from=0", variant="vanilla", batch=16,
        steps=4, out=tmp_path)  # fmt: skip
    # The rate falls from 0.1 to 0 in four steps; each line has that of the last update.
    for phase in ("discriminator", "generator"):
        rates = [line[f"{phase}/learning rate"] for line in metrics(tmp_path)]
        assert rates == pytest.approx([0.1, 0.075, 0.05, 0.025])


@pytest.mark.parametrize("into", ["| head -n 1", "> /dev/full", "2>&1 | true"])
def test_a_closed_pipe_or_a_full_stdout_never_ends_a_training(into: str, tmp_path: Path) -> None:
    words = " ".join([*TRAIN, "--steps", "40", "--out", str(tmp_path / "run")])
    done = subprocess.run(
        ["bash", "-c", f"set -o pipefail; {forked.stand_ins()}/python -m gan_core {words} {into}"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert "Traceback" not in done.stderr
    assert done.returncode == 0
    assert json.loads((tmp_path / "run" / "run.json").read_text())["status"] == "finished"


def test_a_folder_of_samples_is_marked_until_it_is_complete(
    tmp_path: Path, train: Train, monkeypatch: pytest.MonkeyPatch
) -> None:
    from gan_core.cli.sample import sample

    train("width=4", variant="vanilla", batch=16, steps=2, out=tmp_path / "run")
    saved, save = [], Image.Image.save

    def interrupted(self: Image.Image, path: Path, **settings: object) -> None:
        if len(saved) == 5:
            raise KeyboardInterrupt
        saved.append(path)
        save(self, path, **settings)

    with monkeypatch.context() as patch:
        patch.setattr(Image.Image, "save", interrupted)
        with pytest.raises(KeyboardInterrupt):
            sample(tmp_path / "run", count=10, out=tmp_path / "images", seed=0, label=None)
    assert not (tmp_path / "images").exists()
    assert len(list((tmp_path / "images.incomplete").iterdir())) == 5
    sample(tmp_path / "run", count=10, out=tmp_path / "images", seed=0, label=None)
    assert len(list((tmp_path / "images").iterdir())) == 10
    assert not (tmp_path / "images.incomplete").exists()


def test_an_old_checkpoint_that_cannot_be_removed_is_a_warning(
    tmp_path: Path, train: Train, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    remove = shutil.rmtree

    def refuse(path: Path, **options: object) -> None:
        if Path(path).name.isdecimal() and Path(path).exists():
            raise PermissionError(13, "Permission denied", str(path))
        remove(path, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(shutil, "rmtree", refuse)
    run = tmp_path / "run\x1b[31m"
    flags = {"variant": "vanilla", "batch": 16, "steps": 4, "out": run}
    assert train("width=4", "checkpoint_every=0.016", "keep_checkpoints=1", **flags) == "finished"
    warned = capsys.readouterr().err
    assert "warning: the old checkpoint" in warned
    assert r"run\x1b[31m/checkpoints/000000016 could not be removed" in warned
    assert "\x1b" not in warned
    assert len(list((run / "checkpoints").iterdir())) == 4


def test_a_folder_removed_while_it_is_used_is_one_error(tmp_path: Path) -> None:
    run = tmp_path / "run"
    process = start_gan_core(*TRAIN, "--steps", 1_000_000, "--checkpoint-every", 0.5, "--out", run)
    until = time.monotonic() + 60
    while not (run / "metrics.jsonl").exists():
        assert time.monotonic() < until
        time.sleep(0.02)
    run.rename(tmp_path / "gone")
    out, errors = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "was removed while the run used it" in errors
    assert "Traceback" not in out + errors


def test_a_plugin_that_exits_while_it_builds_is_one_error(tmp_path: Path) -> None:
    code = "import sys\nfrom gan_core import Options, Variant\nclass O(Options):\n    'None.'\n"
    code += "variant = Variant(api=2, options=O, build=lambda options, data: sys.exit('no GPU'))\n"
    install(tmp_path, distribution="leaving-gan", name="leaving", code=code)
    output = gan_core("train", "--variant", "leaving", "--steps", 1, expect=2, PYTHONPATH=str(tmp_path))
    assert "variant 'leaving' (leaving-gan 1.0): it called sys.exit('no GPU')" in output


def test_sampling_beside_a_training_that_removes_the_checkpoint_takes_the_newest(
    tmp_path: Path, train: Train, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = tmp_path / "run"
    train("width=4", "checkpoint_every=0.016", variant="vanilla", batch=16, steps=4, out=run)
    found: list[Checkpoint] = []

    def removed_meanwhile(folder: Path, warn: Callable[[str], None]) -> Checkpoint | None:
        checkpoint = newest(folder, warn)
        assert checkpoint is not None
        found.append(checkpoint)
        if len(found) == 1:
            shutil.rmtree(checkpoint.path)
        return checkpoint

    monkeypatch.setattr("gan_core.runs.selection.newest", removed_meanwhile)
    assert load_run(run).images_seen == 48
    assert [checkpoint.images_seen for checkpoint in found] == [64, 48]


@pytest.mark.parametrize("width", [10**12, 10**18])
def test_networks_that_are_too_large_are_one_error(width: int, tmp_path: Path) -> None:
    flags = ("train", "--variant", "vanilla", "--set", f"width={width}", "--steps", 1, "--out", tmp_path / "run")
    output = gan_core(*flags, expect=2)
    assert "variant 'vanilla' (gan-core-vanilla 0.1.0): its networks are too large for this machine" in output
    assert not (tmp_path / "run").exists()
