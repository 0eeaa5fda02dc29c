"""Exactness: the same numbers on any number of processes, and after any resume."""

import subprocess
import time
from pathlib import Path

import pytest
import torch

from tests.conftest import difference, gan_core, metrics, start_gan_core, weights

DCGAN = (
    *("train", "--variant", "dcgan", "--set", "width=8", "--batch", "32", "--precision", "fp64"),
    *("--set", "log_every=0.064", "--sample-every", "1000", "--checkpoint-every", "1000"),
)


@pytest.fixture(scope="module")
def straight(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """30 steps of DCGAN in float64 on one process, started by accelerate, without interruption."""
    folder = tmp_path_factory.mktemp("straight")
    gan_core(*DCGAN, "--steps", 30, "--out", folder / "run", processes=1, launched=True)
    return folder / "run"


@pytest.fixture(scope="module")
def two_processes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The first 15 of those steps on two processes, started by accelerate, then the rest."""
    folder = tmp_path_factory.mktemp("two") / "run"
    first = gan_core(*DCGAN, "--steps", 15, "--out", folder, processes=2, launched=True)
    assert first.strip().splitlines()[0].split()[:3] == ["processes", "2", "processes"]
    gan_core(*DCGAN, "--steps", 30, "--out", folder, processes=2)
    return folder


def test_two_processes_equal_one_to_1e_9_in_every_parameter_and_buffer(straight: Path, two_processes: Path) -> None:
    one, two = weights(straight), weights(two_processes)
    assert {"generator", "discriminator", "ema-generator"} == {name.split("/")[0] for name in one}
    assert any("running_var" in name for name in one)
    assert all(tensor.dtype == torch.float64 for tensor in one.values() if tensor.is_floating_point())
    assert difference(one, two) < 1e-9
    untrained = {name: torch.zeros_like(tensor) for name, tensor in one.items()}
    assert difference(one, untrained) > 1e-3


def test_two_processes_log_the_same_terms(straight: Path, two_processes: Path) -> None:
    one, two = (metrics(run) for run in (straight, two_processes))
    by_images = {line["images_seen"]: line for line in two}
    assert one[-1]["images_seen"] == 960
    for line in one:
        twin = by_images[line["images_seen"]]
        terms = [key for key in line if "/" in key]
        assert "discriminator/D(real)" in terms
        if line["images_seen"] not in (512,):  # The stop at 480 splits this interval in two.
            assert [line[key] for key in terms] == pytest.approx([twin[key] for key in terms], abs=1e-5)


def test_stopped_at_step_15_and_resumed_equals_straight_bit_for_bit(straight: Path, tmp_path: Path) -> None:
    gan_core(*DCGAN, "--steps", 15, "--out", tmp_path / "run")
    halfway = weights(tmp_path / "run")
    output = gan_core(*DCGAN, "--steps", 30, "--out", tmp_path / "run")
    assert "resuming at 0.48 kimg" in output
    resumed = weights(tmp_path / "run")
    assert difference(resumed, weights(straight)) == 0.0
    assert difference(resumed, halfway) > 1e-3
    optimizers = [
        torch.load(run / "checkpoints" / "000000960" / "optimizer-generator.pt", weights_only=True)["state"]
        for run in (straight, tmp_path / "run")
    ]
    for index, state in optimizers[0].items():
        for key, tensor in state.items():
            assert torch.equal(tensor, optimizers[1][index][key])


def test_started_on_two_processes_and_resumed_on_one(straight: Path, two_processes: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    subprocess.run(["cp", "-r", two_processes, run], check=True)
    subprocess.run(["rm", "-r", run / "checkpoints" / "000000960"], check=True)
    output = gan_core(*DCGAN, "--steps", 30, "--out", run)
    assert "resuming at 0.48 kimg" in output
    assert difference(weights(run), weights(straight)) < 1e-9


def test_killed_with_9_and_started_again_equals_straight_bit_for_bit(straight: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    flags = [*DCGAN, "--steps", 2000, "--checkpoint-every", "0.32", "--set", "keep_checkpoints=1000", "--out", run]
    process = start_gan_core(*flags)
    deadline = time.monotonic() + 120
    while not (run / "checkpoints" / "000000640").exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    process.kill()
    process.wait()
    saved = int(sorted(path.name for path in (run / "checkpoints").iterdir() if path.name.isdecimal())[-1])
    assert saved < 64_000
    # Remove later checkpoints, so that training resumes there and ends where the straight run ends.
    for folder in (run / "checkpoints").iterdir():
        if not folder.name.isdecimal() or int(folder.name) > 640:
            subprocess.run(["rm", "-r", folder], check=True)
    output = gan_core(*DCGAN, "--steps", 30, "--out", run)
    assert "resuming at 0.64 kimg" in output
    assert difference(weights(run), weights(straight)) == 0.0
    seen = [line["images_seen"] for line in metrics(run)]
    assert seen == sorted(set(seen))
