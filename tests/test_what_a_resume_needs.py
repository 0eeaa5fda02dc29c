"""What must be there for a resume besides a checkpoint: run.json, and the log that the run has written."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from gan_core.app.load import load_run
from gan_core.errors import UserError
from gan_core.runs.checkpoint import newest
from gan_core.runs.folder import RunFolder
from gan_core.runs.lock import RunLock
from tests.conftest import SMALL, difference, metrics, weights
from tests.test_no_whole_checkpoint import everything

Train = Callable[..., str]


def cut(log: Path) -> None:
    log.write_bytes(log.read_bytes()[:500])


def change_a_digit(log: Path) -> None:
    text = log.read_text()
    at = text.index("0.")
    log.write_text(f"{text[: at + 2]}{(int(text[at + 2]) + 1) % 10}{text[at + 3 :]}")


def remove_a_line(log: Path) -> None:
    log.write_text("".join(log.read_text().splitlines(keepends=True)[1:]))


@pytest.mark.parametrize("spoil", [cut, change_a_digit, remove_a_line, Path.unlink])
def test_a_log_that_has_changed_is_refused_until_that_is_allowed(
    run: Path, train: Train, spoil: Callable[[Path], None]
) -> None:
    before_fault = weights(run)
    shutil.rmtree(run / "checkpoints" / "000000256")
    spoil(run / "metrics.jsonl")
    before = everything(run)
    with pytest.raises(UserError, match=r"metrics.jsonl' is not the log that the run had at 0\.128 kimg"):
        train(*SMALL, variant="dcgan", batch=32, steps=8, out=run)
    assert everything(run) == before
    assert train(*SMALL, variant="dcgan", batch=32, steps=8, out=run, allowed=("metrics",)) == "finished"
    assert difference(before_fault, weights(run)) == 0
    assert [line["images_seen"] for line in metrics(run)][-2:] == [192, 256]
    if spoil is not Path.unlink:
        assert (run / "metrics.jsonl.damaged").read_bytes() == before["metrics.jsonl"]
    assert train(*SMALL, variant="dcgan", batch=32, steps=9, out=run) == "finished"


def test_a_checkpoint_of_a_run_with_another_seed_is_refused(run: Path, train: Train, tmp_path: Path) -> None:
    train(*SMALL, variant="dcgan", batch=32, steps=12, seed=1, out=tmp_path / "twin")
    shutil.copytree(tmp_path / "twin" / "checkpoints" / "000000384", run / "checkpoints" / "000000384")
    with pytest.raises(UserError, match=r"000000384 is a checkpoint of another run"):
        train(*SMALL, variant="dcgan", batch=32, steps=16, out=run)


def test_lines_of_an_evaluation_and_what_was_not_a_number_stay_as_they_are(run: Path, train: Train) -> None:
    folder = RunFolder(run)
    folder.append_metrics({"images_seen": 256, "evaluation@64/kid": 0.5, "evaluation@64/kl": float("nan")})
    logged = folder.metrics.read_bytes()
    for steps in (10, 12):
        train(*SMALL, variant="dcgan", batch=32, steps=steps, out=run)
        assert folder.metrics.read_bytes().startswith(logged)


def test_checkpoints_of_an_earlier_version_do_not_know_the_log(run: Path, train: Train) -> None:
    for path in run.glob("checkpoints/*/manifest.json"):
        manifest = json.loads(path.read_text())
        del manifest["metrics"]
        path.write_text(json.dumps(manifest))
    change_a_digit(run / "metrics.jsonl")
    assert train(*SMALL, variant="dcgan", batch=32, steps=9, out=run) == "finished"


@pytest.mark.parametrize("with_checkpoints", [True, False])
def test_a_run_without_run_json_is_refused_and_a_restart_keeps_it(
    run: Path, train: Train, with_checkpoints: bool
) -> None:
    (run / "run.json").unlink()
    (run / "config.yaml").unlink()
    if not with_checkpoints:
        shutil.rmtree(run / "checkpoints")
    before = everything(run)
    with pytest.raises(UserError, match=r"run\.json' is missing"):
        train(*SMALL, variant="dcgan", batch=32, steps=8, out=run)
    assert everything(run) == before
    assert train(*SMALL, variant="dcgan", batch=32, steps=8, out=run, resume="restart") == "finished"
    assert everything(run.with_name("run-before-restart")) == before


@pytest.mark.parametrize("kind", ["file", "broken link", "link to itself"])
def test_what_is_no_folder_in_the_place_of_a_checkpoint_is_set_aside(run: Path, train: Train, kind: str) -> None:
    expected, path = weights(run), run / "checkpoints" / "000000256"
    shutil.rmtree(path)
    if kind == "file":
        path.write_text("x")
    else:
        path.symlink_to("nowhere" if kind == "broken link" else path.name)
    (run / "checkpoints" / ".000000384.new").write_text("left behind")
    (run / "checkpoints" / ".x.new").symlink_to("000000128")
    assert train(*SMALL, variant="dcgan", batch=32, steps=8, out=run) == "finished"
    assert difference(expected, weights(run)) == 0
    names = sorted(file.name for file in (run / "checkpoints").iterdir())
    assert names == ["000000128", "000000256", "000000256.damaged"]


@pytest.mark.parametrize("content", [b"", b"x", b"\x80\x02}q\x00.", b"\x80\x02]q\x00."])
def test_a_signed_file_of_something_else_is_one_error(run: Path, train: Train, content: bytes) -> None:
    from tests.test_hostile_files import sign

    checkpoint = run / "checkpoints" / "000000256"
    (checkpoint / "optimizer-generator.pt").write_bytes(content)
    sign(checkpoint)
    with pytest.raises(UserError, match=f"checkpoint {checkpoint}"):
        train(*SMALL, variant="dcgan", batch=32, steps=9, out=run)


@pytest.mark.parametrize(
    "change",
    [
        {"data": {"image_size": 8}},
        {"data": {"image_size": "8", "channels": 1, "classes": 10, "count": 1500, "fingerprint": ""}},
        {"images_saved": 10**400},
        {"length": -(10**30)},
    ],
)
def test_wrong_values_in_run_json_are_one_error_when_the_run_is_sampled(run: Path, change: dict[str, object]) -> None:
    metadata = json.loads((run / "run.json").read_text())
    (run / "run.json").write_text(json.dumps(metadata | change))
    with pytest.raises(UserError, match=r"run\.json' is damaged"):
        load_run(run, 0)


def test_a_lock_that_is_a_link_overwrites_nothing(run: Path) -> None:
    before = (run / "metrics.jsonl").read_bytes()
    (run / ".lock").unlink()
    (run / ".lock").symlink_to("metrics.jsonl")
    with pytest.raises(UserError, match="cannot be written"), RunLock(RunFolder(run)):
        pass
    assert (run / "metrics.jsonl").read_bytes() == before


def test_names_in_a_manifest_are_shown_escaped(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for path in run.glob("checkpoints/*/manifest.json"):
        manifest = json.loads(path.read_text())
        manifest["files"]["\x1b[2J"] = {}
        path.write_text(json.dumps(manifest))
    assert newest(run / "checkpoints", lambda text: None) is None
    with pytest.raises(UserError, match="contains no intact checkpoint"):
        load_run(run, 0)
    errors = capsys.readouterr().err
    assert r"\x1b[2J is missing" in errors
    assert "\x1b" not in errors
