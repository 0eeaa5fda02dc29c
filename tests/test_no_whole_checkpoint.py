"""A run whose checkpoints are gone, damaged or unreadable is not started again from the beginning by itself."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from gan_core.errors import UserError
from gan_core.runs.folder import RunFolder
from tests.conftest import SMALL, difference, metrics, weights

Train = Callable[..., str]


def everything(run: Path) -> dict[str, bytes]:
    files = (path for path in run.rglob("*") if path.is_file() and path.name != ".lock")
    return {str(path.relative_to(run)): path.read_bytes() for path in files}


def remove(run: Path) -> None:
    for path in (run / "checkpoints").iterdir():
        shutil.rmtree(path)


def unmount(run: Path) -> None:
    shutil.rmtree(run / "checkpoints")


def damage(run: Path) -> None:
    for path in run.glob("checkpoints/*/manifest.json"):
        path.write_text("{")


def make_unreadable(run: Path) -> None:
    """Reading the newest manifest fails, as it does without permission, but also for root."""
    path = run / "checkpoints" / "000000256" / "manifest.json"
    path.unlink()
    path.mkdir()


@pytest.mark.parametrize(
    ("lose", "message"),
    [
        (remove, "was saved at 0.256 kimg, but it has no checkpoints any more"),
        (unmount, "was saved at 0.256 kimg, but it has no checkpoints any more"),
        (damage, "all checkpoints are damaged"),
        (make_unreadable, "cannot be read: "),
    ],
)
@pytest.mark.parametrize("status", ["finished", "running"])
def test_the_run_is_not_started_again_and_nothing_is_changed(
    run: Path, train: Train, lose: Callable[[Path], None], message: str, status: str
) -> None:
    RunFolder(run).write_metadata(status=status)
    lose(run)
    before = everything(run)
    with pytest.raises(UserError, match=message):
        train(*SMALL, variant="dcgan", batch=32, steps=12, out=run)
    assert everything(run) == before


def test_another_variant_is_refused_also_without_a_checkpoint(run: Path, train: Train) -> None:
    RunFolder(run).write_metadata(images_saved=0)  # As of a run that was killed before its first checkpoint.
    remove(run)
    with pytest.raises(UserError, match=r"variant +'dcgan' in the run, 'vanilla' now"):
        train(variant="vanilla", batch=32, steps=2, seed=7, out=run)
    assert train(*SMALL, variant="dcgan", batch=32, steps=2, out=run) == "finished"


def test_runs_of_an_earlier_version_are_recognised_by_the_images_seen(run: Path, train: Train) -> None:
    metadata = json.loads((run / "run.json").read_text())
    del metadata["images_saved"]
    (run / "run.json").write_text(json.dumps(metadata))
    remove(run)
    with pytest.raises(UserError, match=r"was saved at 0\.256 kimg"):
        train(*SMALL, variant="dcgan", batch=32, steps=12, out=run)


def test_a_restart_is_asked_for_by_name_and_keeps_the_old_run(run: Path, tmp_path: Path, train: Train) -> None:
    remove(run)
    before = everything(run)
    for name in ("run-before-restart", "run-before-restart-2"):
        assert train(*SMALL, variant="dcgan", batch=32, steps=4, resume="restart", out=run) == "finished"
        assert (tmp_path / name / "config.yaml").exists()
    assert everything(tmp_path / "run-before-restart") == before
    assert [line["images_seen"] for line in metrics(run)] == [64, 128]
    assert "resume: auto" in (run / "config.yaml").read_text()  # The next start of this run resumes it.
    assert train(*SMALL, variant="dcgan", batch=32, steps=6, out=run) == "finished"


def test_a_damaged_checkpoint_is_never_removed(run: Path, train: Train) -> None:
    before = weights(run)
    spoilt = run / "checkpoints" / "000000256" / "generator.safetensors"
    spoilt.write_bytes(spoilt.read_bytes()[:-7])
    content = spoilt.read_bytes()
    train(*SMALL, "keep_checkpoints=1", variant="dcgan", batch=32, steps=8, out=run)
    assert difference(before, weights(run)) == 0
    train(*SMALL, "keep_checkpoints=1", variant="dcgan", batch=32, steps=16, out=run)
    assert sorted(path.name for path in (run / "checkpoints").iterdir()) == ["000000256.damaged", "000000512"]
    assert (run / "checkpoints" / "000000256.damaged" / spoilt.name).read_bytes() == content
