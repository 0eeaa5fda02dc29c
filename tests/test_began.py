"""Runs of BEGAN: k, M and the halved learning rate are logged, and the same on two processes and after a resume."""

from pathlib import Path

import pytest
import torch

from tests.conftest import difference, gan_core, metrics, weights

GAMMA, LAMBDA, LR, PATIENCE, BATCH, STEPS = 1.0, 0.5, 0.01, 16, 16, 24
OPTIONS = (
    *("width=2", "latent=4", "repeats=1", f"gamma={GAMMA}", f"lambda_k={LAMBDA}", f"lr={LR}", f"patience={PATIENCE}"),
    *("log_every=0.016", "sample_every=1000", "keep_lowest=generator/M"),
)
"""Logged in every step. The learning rate is so high that M soon stalls."""


def trained(run: Path, steps: int, processes: int | None = None) -> Path:
    """Trains in a process of its own, in float64, and returns the folder."""
    flags = ("--variant", "began", "--batch", BATCH, "--precision", "fp64", "--checkpoint-every", "0.096")
    options = [word for option in OPTIONS for word in ("--set", option)]
    gan_core("train", *flags, *options, "--steps", steps, "--out", run, processes=processes)
    return run


def balance(run: Path) -> dict[str, float]:
    """Returns the state of the newest checkpoint."""
    file = max((run / "checkpoints").iterdir()) / "state-balance.pt"
    return {name: float(value) for name, value in torch.load(file, weights_only=True).items()}


@pytest.fixture(scope="module")
def straight(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run on one process without interruption."""
    return trained(tmp_path_factory.mktemp("began") / "straight", STEPS)


def test_k_m_and_the_halved_rate_are_logged(straight: Path) -> None:
    lines = metrics(straight)
    assert len(lines) == STEPS
    k, average, best, since, factor = 0.0, None, float("inf"), 0, 1.0
    for line in lines:
        real, fake = line["discriminator/real"], line["generator/fake"]
        # Both updates of a step are weighted by the k, and go by the rate, of the step before.
        assert line["discriminator/fake"] == pytest.approx(-k * line["discriminator/L(fake)"], abs=1e-6)
        for phase in ("discriminator", "generator"):
            assert line[f"{phase}/learning rate"] == pytest.approx(LR * factor)
        k = min(1.0, max(0.0, k + LAMBDA * (GAMMA * real - fake)))
        m = real + abs(GAMMA * real - fake)
        assert line["generator/k"] == pytest.approx(k, abs=1e-5)
        assert line["generator/M"] == pytest.approx(m, abs=1e-5)
        weight = 0.5 ** (BATCH / (PATIENCE / 10))
        average = m if average is None else weight * average + (1 - weight) * m
        since = 0 if average < best else since + BATCH
        best = min(best, average)
        if since >= PATIENCE:
            since, factor = 0, factor / 2
    assert 0.0 < k < 1.0
    assert factor < 1.0
    assert factor == balance(straight)["factor"]
    saved = [line for line in lines if line["images_seen"] % 96 == 0]
    lowest = min(saved, key=lambda line: line["generator/M"])
    assert (straight / "checkpoints" / f"{lowest['images_seen']:09d}").exists()


def test_two_processes_and_a_resumed_run_give_the_same(straight: Path, tmp_path: Path) -> None:
    two = trained(tmp_path / "two", STEPS, processes=2)
    resumed = trained(tmp_path / "resumed", STEPS // 2)
    assert abs(balance(resumed)["k"] - balance(straight)["k"]) > 1e-2
    trained(resumed, STEPS)
    assert difference(weights(straight), weights(resumed)) == 0.0
    assert balance(straight) == balance(resumed)
    assert difference(weights(straight), weights(two)) < 1e-9
    assert balance(straight) == pytest.approx(balance(two), abs=1e-9)
    rates = [[line["generator/learning rate"] for line in metrics(run)] for run in (straight, resumed, two)]
    assert rates[0] == rates[1] == rates[2]
