"""Killed with -9 at any moment, again and again: the same command goes on, and nothing is torn or lost.

A few rounds in the ordinary suite; thirty, on one process and on two, by `make test-faults`.
"""

import json
import os
import random
import signal
import subprocess
import time
from pathlib import Path

import pytest
from PIL import Image

from gan_core.runs.checkpoint import newest, numbered
from tests.conftest import ROOT, command, difference, gan_core, metrics, weights
from tests.launchers import ranks

BATCH = 16
TRAIN = (
    *("train", "--variant", "dcgan", "--set", "width=4", "--batch", BATCH, "--precision", "fp64"),
    *("--set", "log_every=0.032", "--checkpoint-every", "0.128", "--sample-every", "0.128"),
)


def size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def whole(run: Path) -> set[str]:
    return {path.parent.name for path in run.glob("checkpoints/[0-9]*/manifest.json")}


def wait_for_the_moment(run: Path, moment: str, chance: random.Random, process: subprocess.Popen[bytes]) -> None:
    """Waits until something is just being written, or for any time at all; mostly after some progress."""
    before = whole(run)
    if moment != "early":
        while whole(run) <= before and process.poll() is None:
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
            time.sleep(chance.uniform(0, 0.5))
            break
    # Half of the time at once, half of the time a little further on in what is being written.
    time.sleep(chance.choice([0.0, chance.uniform(0, 0.01)]))


def kill(process: subprocess.Popen[bytes], processes: int, chance: random.Random) -> None:
    """Kills the whole run, or one process of two and leaves the launcher to find out."""
    workers = list(ranks(process).values()) if processes > 1 else []
    if workers and chance.random() < 0.5:
        chance.choice(workers).kill()
    else:
        os.killpg(process.pid, signal.SIGKILL)
    try:
        process.wait(60)
    finally:
        for worker in workers:
            worker.kill() if worker.is_running() else None


def assert_nothing_is_torn(run: Path) -> None:
    for checkpoint in numbered(run / "checkpoints"):
        found = newest(run / "checkpoints", pytest.fail)
        assert found is not None
        assert (checkpoint / "manifest.json").exists()
    for picture in run.glob("samples/[0-9]*.png"):
        with Image.open(picture) as image:
            image.load()
    assert json.loads((run / "run.json").read_text())["variant_distribution"] == "gan-core-dcgan"


def interrupted_by_kills(run: Path, rounds: int, processes: tuple[int, ...], seed: int) -> int:
    """Starts the same command again and again and kills it; returns how many kills it lived to see."""
    chance = random.Random(seed)
    kills = 0
    for _ in range(rounds):
        count = chance.choice(processes)
        moment = chance.choice(["checkpoint", "checkpoint", "sample", "metrics", "any", "early"])
        words = command(*TRAIN, "--steps", 1_000_000, "--out", run, processes=count if count > 1 else None)
        process = subprocess.Popen(
            words, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
        )
        wait_for_the_moment(run, moment, chance, process)
        if process.poll() is None:
            kills += 1
            kill(process, count, chance)
        assert_nothing_is_torn(run)
    return kills


@pytest.mark.parametrize(
    ("rounds", "processes"),
    [
        (3, (1,)),
        (2, (1, 2)),
        pytest.param(30, (1,), marks=pytest.mark.slow),
        pytest.param(30, (2,), marks=pytest.mark.slow),
        pytest.param(30, (1, 2), marks=pytest.mark.slow),
    ],
)
def test_killed_at_any_moment_the_same_command_ends_where_the_undisturbed_run_does(
    tmp_path: Path, rounds: int, processes: tuple[int, ...]
) -> None:
    killed, undisturbed = tmp_path / "killed", tmp_path / "undisturbed"
    assert interrupted_by_kills(killed, rounds, processes, seed=rounds + len(processes)) == rounds
    # A little further than it came, so that there is an end to compare.
    last = newest(killed / "checkpoints", pytest.fail)
    steps = 20 + (last.images_seen // BATCH if last else 0)
    for run in (killed, undisturbed):
        gan_core(*TRAIN, "--steps", steps, "--out", run)
    assert_nothing_is_torn(killed)
    lines = [metrics(run) for run in (killed, undisturbed)]
    assert [line["step"] for line in lines[0]] == [line["step"] for line in lines[1]]
    # What it drew after the checkpoint from which it went on at last is drawn again, and no other.
    assert {path.name for path in killed.glob("samples/*.png")} >= {
        path.name for path in undisturbed.glob("samples/*.png")
    }
    assert difference(weights(killed), weights(undisturbed)) <= (0.0 if processes == (1,) else 1e-9)
