"""CycleGAN and pix2pix: the same on any number of processes and micro-batches, and after kill -9, bit for bit.

BEGAN's processes are in tests/test_world_size.py, with those of the older variants.
"""

import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from gan_core.runs.checkpoint import newest
from tests import forked
from tests.conftest import ROOT, difference, saved, start_gan_core
from tests.translation_worlds import SMALL, STEPS, write_domains, write_pairs


@pytest.fixture(scope="module")
def worlds(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("worlds")
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = forked.run(["tests.translation_worlds", str(root)], folder=ROOT, environment=environment, timeout=600)
    assert done.returncode == 0, done.stderr
    return root


@pytest.mark.parametrize("run", ["2/{}/whole", "4/{}/whole", "1/{}/halves", "2/{}/halves", "4/{}/halves"])
@pytest.mark.parametrize("name", STEPS)
def test_any_number_of_processes_and_micro_batches_has_the_same_result(worlds: Path, name: str, run: str) -> None:
    one, other = saved(worlds / "1" / name / "whole"), saved(worlds / run.format(name))
    if name == "cyclegan":
        assert int(one["state-pool_a/count"]) == int(one["state-pool_b/count"]) == 6 < 8 * STEPS[name]
    assert difference(one, other) < 1e-9


GAMES: dict[str, tuple[Callable[[Path], str] | None, tuple[str, ...]]] = {
    "cyclegan": (write_domains, SMALL),
    "pix2pix": (write_pairs, ("width=2", "threads=1")),
    "began": (None, ("width=2", "latent=4", "repeats=1", "lambda_k=0.1", "lr=0.001", "patience=256", "threads=1")),
}
"""Small games, with the pools, the dropout and the balance that a resume has to continue."""


@pytest.mark.parametrize("name", GAMES)
def test_a_run_killed_with_9_and_started_again_equals_an_undisturbed_one_bit_for_bit(
    name: str, tmp_path: Path, train: Callable[..., str]
) -> None:
    write, small = GAMES[name]
    dataset = "digits" if write is None else write(tmp_path / "data")
    assignments = (*small, "lr_schedule=constant", "sample_every=1000", "checkpoint_every=0.012")
    flags = {"variant": name, "dataset": dataset, "batch": 4}
    killed = tmp_path / "killed"
    options = [word for assignment in assignments for word in ("--set", assignment)]
    words = [str(word) for key, value in flags.items() for word in (f"--{key}", value)]
    process = start_gan_core("train", *words, *options, "--steps", 1_000_000, "--out", killed)
    deadline = time.monotonic() + 120
    while process.poll() is None and not any(killed.glob("checkpoints/[0-9]*/manifest.json")):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    assert process.poll() is None
    process.kill()
    process.communicate()
    last = newest(killed / "checkpoints", pytest.fail)
    assert last is not None
    before = saved(killed)
    steps = last.images_seen // 4 + 4
    for run in (killed, tmp_path / "undisturbed"):
        assert train(*assignments, **flags, steps=steps, out=run) == "finished"
    ended, undisturbed = saved(killed), saved(tmp_path / "undisturbed")
    assert ended.keys() == undisturbed.keys() == before.keys()
    assert all(torch.equal(ended[key], undisturbed[key]) for key in ended)
    assert difference(ended, before) > 0
