"""A game whose state holds earlier fakes: killed = straight in the middle of a pool, and updates that are skipped."""

import shutil
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.conftest import difference, metrics, weights
from tests.memory_game import write_images
from tests.test_plugin_loading import install

BAD = 5
"""The step in which a gradient is NaN."""


def state(run: Path, step: int, name: str) -> Any:
    """Returns extra state after a step of 16 images."""
    return torch.load(run / "checkpoints" / f"{16 * step:09d}" / f"state-{name}.pt", weights_only=True)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with images, in which the variant is installed."""
    folder = tmp_path_factory.mktemp("site")
    write_images(folder / "images")
    install(folder, distribution="memory-gan", name="memory", value="tests.memory_game:variant")
    return folder


@pytest.fixture
def straight(
    site: Path, tmp_path: Path, train: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> tuple[Path, Callable[[Path], str]]:
    """A run of eight steps with a checkpoint after each, and what trains it."""
    monkeypatch.syspath_prepend(site)

    def start(out: Path) -> str:
        settings = ("precision=fp64", "on_nan=skip", "checkpoint_every=0.016", "keep_checkpoints=100", f"bad={BAD}")
        data = f"unpaired:{site / 'images'}"
        return train(*settings, "log_every=0.016", variant="memory", dataset=data, batch=16, steps=8, out=out)

    assert start(tmp_path / "straight") == "finished"
    return tmp_path / "straight", start


def test_a_run_that_ends_in_the_middle_of_a_pool_resumes_bit_for_bit(
    straight: tuple[Path, Callable[[Path], str]], tmp_path: Path
) -> None:
    run, start = straight
    for stopped in (2, 4):  # Before and after the pool of 50 is full.
        other = tmp_path / f"stopped after {stopped}"
        shutil.copytree(run, other)
        for folder in (other / "checkpoints").iterdir():
            if int(folder.name) > 16 * stopped:
                shutil.rmtree(folder)
        assert len(state(other, stopped, "pool")["images"]) == min(50, 16 * stopped)
        assert start(other) == "finished"
        assert difference(weights(run), weights(other)) == 0
        for one, two in zip(state(run, 8, "pool")["images"], state(other, 8, "pool")["images"], strict=True):
            assert torch.equal(one, two)
        assert state(run, 8, "means") == state(other, 8, "means")


def test_a_skipped_update_leaves_pool_and_means_as_they_were(straight: tuple[Path, Callable[[Path], str]]) -> None:
    run, _ = straight
    saved = [(torch.stack(state(run, n, "pool")["images"]), state(run, n, "means")["k"]) for n in range(4, 9)]
    changed = [[not torch.equal(*two) for two in zip(*pair, strict=True)] for pair in pairwise(saved)]
    assert changed == [[True, True], [False, False], [True, True], [True, True]]
    assert [line.get("discriminator/skipped") for line in metrics(run)] == [1.0 if n == BAD else None for n in range(8)]
