"""Sweeps: the command that an agent of Weights & Biases makes from launch/sweep.yaml, and a loop in a shell."""

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from gan_core.errors import UserError
from gan_core.runs.folder import RunFolder
from gan_core.runs.goal import HIGHER, LOWER, best_values, goal_of
from gan_core.runs.listing import list_runs, sorted_by
from tests import forked
from tests.conftest import ROOT, gan_core
from tests.tracked import OFFLINE, read_wandb

SWEEP = yaml.safe_load((ROOT / "launch" / "sweep.yaml").read_text())


def agent_s_command(trial: dict[str, Any]) -> list[str]:
    """Returns the command of a trial, put together by the code of Weights & Biases as `wandb agent` does it."""
    from wandb.sdk.launch.sweeps.utils import create_sweep_command, create_sweep_command_args

    known = create_sweep_command_args({"args": {key: {"value": value} for key, value in trial.items()}})
    known |= {"interpreter": ["python"], "program": [SWEEP["program"]], "env": ["/usr/bin/env"]}
    words: list[str] = []
    for word in create_sweep_command(list(SWEEP["command"])):
        words += known[word[2:-1]] if word.startswith("${") and word.endswith("}") else [word]
    return words


def test_the_command_of_a_trial_trains_in_a_folder_of_its_own(tmp_path: Path) -> None:
    trial = {"lr": 0.001, "lr_schedule": "linear", "width": 8}
    assert trial.keys() == SWEEP["parameters"].keys()
    command = agent_s_command(trial)
    # Two steps; the classifier need not be trained for this.
    short = {"--kimg=20": "--steps=2", "--track=wandb": "--track=wandb --evaluate-features=random"}
    words = [part for word in command for part in (short[word].split() if word in short else [word])]
    assert len(words) == len(command) + 1
    path = f"{forked.stand_ins()}:{Path(forked.PYTHON).parent}:{os.environ['PATH']}"
    # As `wandb agent` sets them.
    agent = {"WANDB_RUN_ID": "trial-1", "WANDB_SWEEP_ID": "sweep-1", "WANDB_PROJECT": SWEEP["project"]}
    environment = os.environ | OFFLINE | {"PATH": path, "HOME": str(tmp_path)} | agent
    done = subprocess.run(
        words, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    run = tmp_path / "runs" / "sweep" / "trial-1"
    config = yaml.safe_load((run / "config.yaml").read_text())
    assert (config["options"]["lr"], config["options"]["width"], config["lr_schedule"]) == (0.001, 8, "linear")
    (session,) = read_wandb(run)
    assert session.run.run_id == "trial-1"
    assert session.run.sweep_id == "sweep-1"
    assert session.run.project == SWEEP["project"]
    assert SWEEP["metric"]["name"] in session.summary
    assert goal_of(SWEEP["metric"]["name"].removeprefix("best/")) == SWEEP["metric"]["goal"][:3]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--variant=dcgan", "--widht=3"], "widht: no such option of dcgan. Did you mean 'width'?"),
        (["--variant=dcgan", "--bacth=3"], "bacth: no such option of dcgan. Did you mean 'batch'?"),
        (["--variant=dcgan", "--lr=fast"], "lr: 'fast' is not allowed"),
        (["--variant=dcgan", "--lr_schedule=cosin"], "lr_schedule: 'cosin' is not allowed."),
        (["--variant=dcgan", "--mirror=maybe"], "mirror: 'maybe' is not allowed"),
    ],
)
def test_misspelt_arguments_of_a_sweep_are_refused_with_the_nearest_name(words: list[str], message: str) -> None:
    assert message in gan_core("train", *words, expect=2)


def test_arguments_of_a_sweep_are_settings_and_options(tmp_path: Path) -> None:
    words = (
        "--variant=dcgan",
        "--lr=0.25",
        "--lr_schedule=linear",
        "--mirror=True",
        "--keep-every=2",
        "--options.width=3",
    )
    output = gan_core("train", *words, "--kimg", 2, "--dry-run", "--out", tmp_path)
    config = yaml.safe_load(output.partition("\nvariant  ")[0])
    assert (config["mirror"], config["lr_schedule"], config["keep_every"]) == (True, "linear", 2.0)
    assert (config["options"]["lr"], config["options"]["width"]) == (0.25, 3)


def made_by_hand(root: Path, *lines: dict[str, float]) -> None:
    folder = RunFolder(root)
    folder.create()
    folder.write_config({"variant": "dcgan", "dataset": "digits"})
    folder.write_metadata(status="finished", length=4000)
    for number, line in enumerate(lines, 1):
        folder.append_metrics({"images_seen": 1000 * number, **line})


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    """Three runs that were evaluated, not at their last log point, and one that was not."""
    fid, coverage = "evaluation@2000/fid", "evaluation@2000/coverage"
    made_by_hand(tmp_path / "a", {fid: 9.0, coverage: 0.5}, {"generator/adversarial": 3.0})
    made_by_hand(tmp_path / "b", {fid: 1.0, coverage: 0.1}, {fid: 12.0, coverage: 0.3}, {"generator/adversarial": 1.0})
    made_by_hand(tmp_path / "c", {fid: 10.5, coverage: 0.9}, {"generator/adversarial": 2.0})
    made_by_hand(tmp_path / "none", {"generator/adversarial": 4.0})
    return tmp_path


@pytest.mark.parametrize(
    ("metric", "order"),
    [
        ("evaluation@2000/fid", {"a": 9.0, "c": 10.5, "b": 12.0, "none": None}),
        ("evaluation@2000/coverage", {"c": 0.9, "a": 0.5, "b": 0.3, "none": None}),
        ("generator/adversarial", {"b": 1.0, "c": 2.0, "a": 3.0, "none": 4.0}),
    ],
)
def test_runs_are_sorted_by_a_metric_the_best_first(metric: str, order: dict[str, float | None], runs: Path) -> None:
    rows = sorted_by(metric, runs, list_runs(runs))
    assert [(row.run, row.value) for row in rows] == list(order.items())


def test_the_command_shows_the_metric(runs: Path) -> None:
    output = gan_core("runs", runs, "--sort", "evaluation@2000/fid")
    header, *rows = output.splitlines()
    assert header.split()[:2] == ["run", "evaluation@2000/fid"]
    assert [row.split()[:2] for row in rows] == [["a", "9"], ["c", "10.5"], ["b", "12"], ["none", "finished"]]
    listed = json.loads(gan_core("runs", runs, "--sort", "evaluation@2000/fid", "--json"))
    assert [row["value"] for row in listed] == [9.0, 10.5, 12.0, None]


def test_a_metric_that_no_run_has_is_refused_with_the_nearest_name(runs: Path) -> None:
    message = r"^sort: no run in .* has logged 'evaluation@2000/fdi'\. Did you mean 'evaluation@2000/fid'\? Allowed: "
    with pytest.raises(UserError, match=message):
        sorted_by("evaluation@2000/fdi", runs, list_runs(runs))


def test_of_every_metric_it_is_known_which_value_is_the_best() -> None:
    from gan_core.evaluation.metrics import OF_TARGETS, SCALARS

    assert {*SCALARS, *OF_TARGETS} - {*LOWER, *HIGHER} == {"copying_z"}  # Far from 0 is bad in both directions.
    assert not {*LOWER} & {*HIGHER}
    lines = [
        {"evaluation@64/fid": 3.0, "evaluation@64/a/recall": 0.1, "loss": 2.0},
        {"evaluation@64/fid": 5.0, "loss": 1.0},
    ]
    assert best_values(lines) == {"evaluation@64/fid": 3.0, "evaluation@64/a/recall": 0.1}
    assert best_values(lines, {"loss": "min"})["loss"] == 1.0
    assert goal_of("generator/fid") is None
