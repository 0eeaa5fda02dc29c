"""Text from outside is data: no markup is read from it, and its control characters are shown escaped."""

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from gan_core.app.load import load_run
from gan_core.console import printable
from tests.conftest import gan_core
from tests.test_plugin_loading import install

TRAIN = ("train", "--variant", "vanilla", "--set", "width=4", "--batch", 16)


@pytest.mark.parametrize("name", ["x[/b]", "sweep[lr=0.1]", "[red]", ":smile:", "[link=file:etc]x[/link]"])
def test_a_folder_with_markup_in_its_name_trains_resumes_and_is_listed(name: str, tmp_path: Path) -> None:
    run = tmp_path / name
    first = gan_core(*TRAIN, "--steps", 2, "--out", run)
    assert f"finished at 0.032 kimg: {run}/samples/000000032.png" in first
    assert f"resuming at 0.032 kimg from {run}/checkpoints/000000032" in gan_core(*TRAIN, "--steps", 3, "--out", run)
    assert name in gan_core("runs", tmp_path).splitlines()[1]
    assert f"2 images: {run}/a.png" in gan_core("sample", run, "--count", 2, "--out", run / "a.png")


def test_control_characters_in_names_and_logged_terms_are_escaped(tmp_path: Path) -> None:
    run = tmp_path / "a\x1b]0;owned\x07b\nc"
    run.mkdir()
    (run / "config.yaml").write_text('variant: "v\\u202e\\x1b[2J"\ndataset: digits\n')
    (run / "run.json").write_text(json.dumps({"status": "\x1b[31mred", "length": 10}))
    (run / "metrics.jsonl").write_text(json.dumps({"images_seen": 5, "p/\x1b[Hx": 1.0}) + "\n")
    output = gan_core("runs", tmp_path)
    assert "\x1b" not in output
    assert "\x07" not in output
    assert "\u202e" not in output
    for shown in (r"a\x1b]0;owned\x07b", r"\x1b[31mred", r"v\u202e\x1b[2J", r"\x1b[Hx"):
        assert shown in output


def test_warnings_are_escaped(tmp_path: Path, train: Callable[..., str], capsys: pytest.CaptureFixture[str]) -> None:
    run = tmp_path / "a\x1b[31mb"
    flags = {"variant": "vanilla", "batch": 16, "out": run}
    train("width=4", "checkpoint_every=0.016", steps=2, **flags)
    (run / "checkpoints" / "000000032" / "generator.safetensors").write_bytes(b"")
    load_run(run, 0)
    warned = capsys.readouterr().err
    assert "warning: checkpoint " in warned
    assert r"a\x1b[31mb" in warned
    train("width=4", steps=3, **flags)
    warned += capsys.readouterr().err
    assert warned.count("is skipped") == 2
    train("width=4", "resume=restart", steps=2, **flags)
    warned += capsys.readouterr().err
    assert "the run before is now in" in warned
    assert "\x1b" not in warned
    assert warned.count(r"a\x1b[31mb") >= 3


def test_errors_and_plugins_are_escaped(tmp_path: Path) -> None:
    assert r"'\x1b[2Jx'" in gan_core("train", "--variant", "\x1b[2Jx", expect=2)
    install(tmp_path, distribution="loud-gan", name="loud")
    metadata = tmp_path / "loud_gan-1.0.dist-info" / "METADATA"
    metadata.write_text(metadata.read_text().replace("made by hand", "[bold]loud[/bold] \x1b[5m"))
    output = gan_core("list", PYTHONPATH=str(tmp_path))
    assert r"[bold]loud[/bold] \x1b[5m" in output


def test_text_without_control_characters_is_unchanged() -> None:
    text = "é 漢字 🙂 a\tb\nc"
    assert printable(text) is text
    assert printable(os.fsdecode(b"a\xff")) == r"a\udcff"
    assert printable("a\r\x00\u2028") == r"a\r\x00\u2028"
