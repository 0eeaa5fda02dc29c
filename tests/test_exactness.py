"""The promise of the house: the same numbers on any number of processes, and after any resume."""

import json
import os
import signal
import subprocess
import time
from pathlib import Path

import pytest
import torch

from tests.conftest import ROOT, command, difference, gan_core, weights

DCGAN = (
    *("train", "--variant", "dcgan", "--set", "width=8", "--batch", "32", "--precision", "fp64"),
    *("--set", "log_every=0.064", "--sample-every", "1000", "--checkpoint-every", "1000"),
)


@pytest.fixture(scope="module")
def straight(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """30 steps of DCGAN in float64 on one process, without a break."""
    folder = tmp_path_factory.mktemp("straight")
    gan_core(*DCGAN, "--steps", 30, "--out", folder / "run", processes=1)
    return folder / "run"


@pytest.fixture(scope="module")
def two_processes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The first 15 of those steps on two processes, then the rest."""
    folder = tmp_path_factory.mktemp("two") / "run"
    first = gan_core(*DCGAN, "--steps", 15, "--out", folder, processes=2)
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
    one, two = (
        [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
        for run in (straight, two_processes)
    )
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


def test_begun_on_two_processes_and_resumed_on_one(straight: Path, two_processes: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    subprocess.run(["cp", "-r", two_processes, run], check=True)
    subprocess.run(["rm", "-r", run / "checkpoints" / "000000960"], check=True)
    output = gan_core(*DCGAN, "--steps", 30, "--out", run)
    assert "resuming at 0.48 kimg" in output
    assert difference(weights(run), weights(straight)) < 1e-9


def test_killed_with_9_and_started_again_equals_straight_bit_for_bit(straight: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    flags = [*DCGAN, "--steps", 2000, "--checkpoint-every", "0.32", "--set", "keep_checkpoints=1000", "--out", run]
    process = subprocess.Popen(command(*flags), cwd=ROOT, stdout=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while not (run / "checkpoints" / "000000640").exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    process.kill()
    process.wait()
    saved = int(sorted(path.name for path in (run / "checkpoints").iterdir() if path.name.isdecimal())[-1])
    assert saved < 64_000
    # Forget what lies beyond, so that the resumed part is played again and compared where the straight run has an end.
    for folder in (run / "checkpoints").iterdir():
        if not folder.name.isdecimal() or int(folder.name) > 640:
            subprocess.run(["rm", "-r", folder], check=True)
    output = gan_core(*DCGAN, "--steps", 30, "--out", run)
    assert "resuming at 0.64 kimg" in output
    assert difference(weights(run), weights(straight)) == 0.0
    seen = [json.loads(line)["images_seen"] for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert seen == sorted(set(seen))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGUSR1])
def test_a_signal_saves_and_marks_the_run_interrupted(number: signal.Signals, tmp_path: Path) -> None:
    run = tmp_path / "run"
    process = subprocess.Popen(command(*DCGAN, "--steps", 100_000, "--out", run), cwd=ROOT, stdout=subprocess.PIPE)
    while not (run / "metrics.jsonl").exists() and process.poll() is None:
        time.sleep(0.01)
    os.kill(process.pid, number)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 75  # So that whoever supervises it does not take it for finished.
    assert b"The same command goes on" in output
    facts = json.loads((run / "run.json").read_text())
    assert facts["status"] == "interrupted"
    assert (run / "checkpoints" / f"{facts['images_seen']:09d}" / "manifest.json").exists()


@pytest.mark.parametrize(
    "flags",
    [
        # A gradient penalty: double backward through the wrapped phase, and ε drawn for the global batch.
        ("--variant", "wgan", "--set", "penalty=gradient", "--set", "width=8"),
        # Micro-batches on two processes, clipping, and a label for each image.
        ("--variant", "acgan", "--set", "r1=1", "--set", "width=4", "--set", "maps=8", "--set", "clip_norm=0.1"),
        # Twice as many fakes as reals in the generator's turn.
        ("--variant", "vanilla", "--set", "width=8", "--set", "accumulate=2", "--set", "generator_fakes=2"),
        # What is normalised together is the micro-batch of all processes.
        ("--variant", "dcgan", "--set", "width=4", "--set", "accumulate=2"),
    ],
    ids=lambda flags: flags[1],
)
def test_two_processes_equal_one_for_other_games(flags: tuple[str, ...], tmp_path: Path) -> None:
    common = ("train", *flags, "--batch", "16", "--precision", "fp64", "--steps", 10)
    gan_core(*common, "--out", tmp_path / "one")
    gan_core(*common, "--out", tmp_path / "two", processes=2)
    assert difference(weights(tmp_path / "one"), weights(tmp_path / "two")) < 1e-9
