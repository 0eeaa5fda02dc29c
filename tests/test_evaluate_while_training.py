"""`--evaluate-every`: the metrics of `gan_core evaluate`, on fewer samples, in the log of the run."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from gan_core.app.training import start
from gan_core.data.dataset import Rows
from gan_core.errors import UserError
from tests.conftest import difference, gan_core, make_job, metrics, weights

Train = Callable[..., str]
GAME = (
    *("train", "--variant", "dcgan", "--set", "width=4", "--batch", "32", "--precision", "fp64"),
    *("--set", "log_every=0.064", "--checkpoint-every", "1000", "--sample-every", "1000"),
)
JUDGED = ("--evaluate-every", "0.128", "--set", "evaluate_samples=256", "--set", "evaluate_features=random")


def logged_metrics(run: Path) -> dict[int, dict[str, float]]:
    """Returns the evaluation metrics that a run logged during training, by step."""
    lines = [line for line in metrics(run) if "step" in line]  # Lines of `gan_core evaluate` have no step.
    found = {line["step"]: {key: line[key] for key in line if key.startswith("evaluation")} for line in lines}
    return {step: metrics for step, metrics in found.items() if metrics}


@pytest.fixture(scope="module")
def straight(tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = tmp_path_factory.mktemp("straight") / "run"
    gan_core(*GAME, *JUDGED, "--steps", 10, "--out", run)
    return run


def test_metrics_are_logged_with_their_number_of_samples_and_at_the_end(straight: Path) -> None:
    metrics = logged_metrics(straight)
    assert list(metrics) == [4, 8, 10]
    assert {"evaluation@256/kid", "evaluation@256/coverage", "evaluation@256/unique"} <= metrics[10].keys()
    assert "evaluation@256/fid" not in metrics[10]  # It is mostly bias on so few samples.
    assert len({metrics[step]["evaluation@256/kid"] for step in metrics}) == 3
    # Every evaluated state has a checkpoint.
    assert sorted(path.name for path in (straight / "checkpoints").iterdir()) == ["000000128", "000000256", "000000320"]


def test_they_equal_a_later_evaluate(straight: Path) -> None:
    gan_core("evaluate", straight, "--samples", 256, "--features", "random")
    written = json.loads((straight / "evaluation.json").read_text())
    for key, value in logged_metrics(straight)[10].items():
        assert written["metrics"][key.partition("/")[2]]["value"] == pytest.approx(value, rel=1e-6)


def test_they_are_equal_on_two_processes_and_after_a_resume(straight: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    gan_core(*GAME, *JUDGED, "--steps", 6, "--out", run)
    gan_core(*GAME, *JUDGED, "--steps", 10, "--out", run, processes=2)
    for step in (4, 8, 10):
        assert logged_metrics(run)[step] == pytest.approx(logged_metrics(straight)[step], rel=1e-6)


def test_evaluation_does_not_affect_training(straight: Path, tmp_path: Path) -> None:
    gan_core(*GAME, "--steps", 10, "--out", tmp_path / "run")
    assert difference(weights(straight), weights(tmp_path / "run")) == 0.0


def test_the_best_evaluated_checkpoint_can_be_kept(straight: Path, tmp_path: Path) -> None:
    keep = ("--set", "keep_checkpoints=1", "--set", "keep_lowest=evaluation@256/kid")
    gan_core(*GAME, *JUDGED, *keep, "--steps", 10, "--out", tmp_path / "run")
    metrics = logged_metrics(straight)
    best = min(metrics, key=lambda step: metrics[step]["evaluation@256/kid"])
    kept = {int(path.name) // 32 for path in (tmp_path / "run" / "checkpoints").iterdir()}
    assert kept == {best, 10}


def test_the_training_images_are_read_once(tmp_path: Path) -> None:
    settings = ("steps=2", "evaluate_every=1", "evaluate_samples=64", "evaluate_features=random")
    job = make_job(*settings, variant="vanilla", out=tmp_path / "run")
    splits: list[str] = []

    def read(table: str, split: str) -> Rows:
        splits.append(split)
        return job.dataset.read(table, split)

    start(replace(job, dataset=replace(job.dataset, read=read)), (), Console(quiet=True))
    assert splits == ["train", "test"]


@pytest.mark.parametrize(
    ("assignments", "message"),
    [
        (("evaluate_features=classifer",), "Did you mean 'classifier'"),
        (("keep_lowest=evaluation@2000/covrage",), "Did you mean 'evaluation@2000/coverage'"),
    ],
)
def test_invalid_evaluation_settings_are_refused_before_the_run_starts(
    assignments: tuple[str, ...], message: str, train: Train, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=message):
        train(*assignments, variant="dcgan", steps=2, evaluate_every=1, out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_metric_that_this_data_set_never_has_is_refused_before_training(tmp_path: Path, train: Train) -> None:
    # Digits has 297 test images, and FID needs 2,000.
    flags = {"variant": "vanilla", "steps": 2, "batch": 16, "evaluate_every": 1, "out": tmp_path / "run"}
    with pytest.raises(UserError, match=r"keep_lowest: 'evaluation@2000/fid' is not a metric of this run"):
        train("keep_lowest=evaluation@2000/fid", "evaluate_features=random", **flags)
    assert not (tmp_path / "run").exists()
