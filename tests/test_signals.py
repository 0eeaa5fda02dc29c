"""Signals: after a signal to any process, all save and exit together. And a launcher that restarts after a crash."""

import json
import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from tests import forked
from tests.conftest import ROOT, difference, gan_core, metrics, start_gan_core, weights
from tests.forked import Process
from tests.launchers import ranks

TRAIN = (
    *("train", "--variant", "dcgan", "--set", "width=4", "--batch", "16", "--precision", "fp64"),
    *("--set", "log_every=0.032", "--sample-every", "1000"),
)


def trains(process: Process, run: Path) -> Process:
    """Waits until a run trains."""
    while not (run / "metrics.jsonl").exists() and process.poll() is None:
        time.sleep(0.02)
    return process


def output_of(process: Process) -> str:
    return "".join(filter(None, process.communicate(timeout=180)))


def assert_interrupted(run: Path, output: str) -> None:
    assert output.count("saved. Run the same command to resume") == 1
    metadata = json.loads((run / "run.json").read_text())
    assert metadata["status"] == "interrupted"
    assert (run / "checkpoints" / f"{metadata['images_seen']:09d}" / "manifest.json").exists()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGUSR1])
def test_a_signal_saves_and_marks_the_run_interrupted(number: signal.Signals, tmp_path: Path) -> None:
    run = tmp_path / "run"
    process = trains(start_gan_core(*TRAIN, "--steps", 1_000_000, "--out", run), run)
    os.kill(process.pid, number)
    output = output_of(process)
    assert process.returncode == 75  # Not 0, which supervisors would take for finished.
    assert_interrupted(run, output)


@pytest.mark.parametrize(
    ("number", "target"),
    [
        (signal.SIGUSR1, "rank 0"),  # SLURM sends it before it revokes a node.
        (signal.SIGTERM, "rank 1"),
        (signal.SIGTERM, "launcher"),  # As when a container is stopped.
        (signal.SIGINT, "all"),  # Ctrl-C in a terminal; the launcher then sends it to all processes again.
    ],
)
def test_after_a_signal_to_any_process_both_stop_and_save(number: signal.Signals, target: str, tmp_path: Path) -> None:
    run = tmp_path / "run"
    words = (*TRAIN, "--steps", 1_000_000, "--out", run)
    process = trains(start_gan_core(*words, processes=2, real=target == "launcher"), run)
    if target == "all":
        os.killpg(process.pid, number)
    elif target == "launcher":
        process.send_signal(number)
    else:
        ranks(process)[target[-1]].send_signal(number)
    output = output_of(process)
    assert_interrupted(run, output)


def test_a_launcher_that_restarts_resumes_from_the_last_checkpoint(tmp_path: Path) -> None:
    run, straight = tmp_path / "run", tmp_path / "straight"
    torchrun = [str(forked.stand_ins() / "torchrun"), "--nproc_per_node", "2", "--max_restarts", "1"]
    words = (*TRAIN, "--checkpoint-every", "0.32", "--steps", "150")
    line = [*torchrun, "-m", "gan_core", *words, "--out", str(run)]
    process = subprocess.Popen(line, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    while not list(run.glob("checkpoints/*/manifest.json")) and process.poll() is None:
        time.sleep(0.02)
    ranks(process)["1"].kill()
    output = output_of(process)
    assert process.returncode == 0, output
    assert "resuming at" in output
    gan_core(*words, "--out", straight)
    assert difference(weights(run), weights(straight)) < 1e-9
    steps = [[line["step"] for line in metrics(folder)] for folder in (run, straight)]
    assert steps[0] == steps[1]
