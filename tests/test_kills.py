"""Repeated kills with SIGKILL at random moments: the same command resumes, and no file is damaged or lost.

A few kills in the default suite; 30, with 1 and 2 processes and real launchers, in `make test-faults`.
"""

import json
import os
import random
import signal
import time
from pathlib import Path

import pytest
from PIL import Image

from gan_core.runs.checkpoint import newest, numbered
from tests.conftest import difference, gan_core, metrics, start_gan_core, weights
from tests.forked import Process
from tests.launchers import ranks

BATCH = 16
TRAIN = (
    *("train", "--variant", "dcgan", "--set", "width=4", "--batch", BATCH, "--precision", "fp64"),
    *("--set", "log_every=0.032", "--checkpoint-every", "0.128", "--sample-every", "0.128"),
)


def size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def intact(run: Path) -> set[str]:
    return {path.parent.name for path in run.glob("checkpoints/[0-9]*/manifest.json")}


def wait_for_moment(run: Path, moment: str, random_numbers: random.Random, process: Process) -> None:
    """Waits until a file is being written, or for a random time; except for "early", after a new checkpoint."""
    before = intact(run)
    if moment != "early":
        while intact(run) <= before and process.poll() is None:
            time.sleep(0.01)
    lines = size(run / "metrics.jsonl")
    until = time.monotonic() + 10
    while process.poll() is None and time.monotonic() < until:
        if moment == "checkpoint" and any(run.glob("checkpoints/.*.new")):
            break
        if moment == "sample" and any(run.glob("samples/.*.new")):
            break
        if moment in ("metrics", "early") and size(run / "metrics.jsonl") != lines:
            break
        if moment == "any":
            time.sleep(random_numbers.uniform(0, 0.5))
            break
    # At once in half of the cases, a little later during the write in the others.
    time.sleep(random_numbers.choice([0.0, random_numbers.uniform(0, 0.01)]))


def kill(process: Process, processes: int, random_numbers: random.Random) -> None:
    """Kills the whole run, or only one of two processes, which the launcher must detect."""
    workers = list(ranks(process).values()) if processes > 1 else []
    if workers and random_numbers.random() < 0.5:
        random_numbers.choice(workers).kill()
    else:
        os.killpg(process.pid, signal.SIGKILL)
    try:
        process.wait(60)
    finally:
        for worker in workers:
            worker.kill() if worker.is_running() else None
        process.communicate()


def assert_files_are_intact(run: Path) -> None:
    for checkpoint in numbered(run / "checkpoints"):
        found = newest(run / "checkpoints", pytest.fail)
        assert found is not None
        assert (checkpoint / "manifest.json").exists()
    for picture in run.glob("samples/[0-9]*.png"):
        with Image.open(picture) as image:
            image.load()
    assert json.loads((run / "run.json").read_text())["variant_distribution"] == "gan-core-dcgan"


def interrupted_by_kills(run: Path, attempts: int, processes: tuple[int, ...], seed: int) -> int:
    """Starts the same command and kills it, `attempts` times; returns how many times it was killed while running."""
    random_numbers = random.Random(seed)
    kills = 0
    for _ in range(attempts):
        count = random_numbers.choice(processes)
        moment = random_numbers.choice(["checkpoint", "checkpoint", "sample", "metrics", "any", "early"])
        words = (*TRAIN, "--steps", 1_000_000, "--out", run)
        process = start_gan_core(*words, processes=count if count > 1 else None, real=attempts > 3)
        wait_for_moment(run, moment, random_numbers, process)
        if process.poll() is None:
            kills += 1
            kill(process, count, random_numbers)
        assert_files_are_intact(run)
    return kills


@pytest.mark.parametrize(
    ("attempts", "processes"),
    [
        (3, (1,)),
        (2, (1, 2)),
        pytest.param(30, (1,), marks=pytest.mark.slow),
        pytest.param(30, (2,), marks=pytest.mark.slow),
        pytest.param(30, (1, 2), marks=pytest.mark.slow),
    ],
)
def test_a_run_killed_at_random_moments_ends_like_an_undisturbed_run(
    tmp_path: Path, attempts: int, processes: tuple[int, ...]
) -> None:
    killed, undisturbed = tmp_path / "killed", tmp_path / "undisturbed"
    assert interrupted_by_kills(killed, attempts, processes, seed=attempts + len(processes)) == attempts
    # Train a few steps further, so that there is an end to compare.
    last = newest(killed / "checkpoints", pytest.fail)
    steps = 20 + (last.images_seen // BATCH if last else 0)
    for run in (killed, undisturbed):
        gan_core(*TRAIN, "--steps", steps, "--out", run)
    assert_files_are_intact(killed)
    lines = [metrics(run) for run in (killed, undisturbed)]
    assert [line["step"] for line in lines[0]] == [line["step"] for line in lines[1]]
    # Grids drawn after the last checkpoint that was resumed are drawn again.
    assert {path.name for path in killed.glob("samples/*.png")} >= {
        path.name for path in undisturbed.glob("samples/*.png")
    }
    assert difference(weights(killed), weights(undisturbed)) <= (0.0 if processes == (1,) else 1e-9)
