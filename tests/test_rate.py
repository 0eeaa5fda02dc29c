"""The rate in images per second: all of the device's work counts, and nothing but training. Time is moved by hand."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gan_core.app import training
from gan_core.training.meter import Meter
from tests.conftest import metrics

IMAGES, SECONDS = 32, 200.0


@pytest.fixture
def delay(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Returns a function that makes another one take 200 seconds longer."""
    ahead, real = 0.0, time.monotonic
    monkeypatch.setattr(time, "monotonic", lambda: real() + ahead)

    def slow(function: Callable[..., Any]) -> Callable[..., Any]:
        def delayed(*arguments: object, **named: object) -> object:
            nonlocal ahead
            result = function(*arguments, **named)
            ahead += SECONDS
            return result

        return delayed

    return slow


def rates(run: Path, train: Callable[..., str], *assignments: str) -> list[float]:
    train("width=4", *assignments, variant="vanilla", batch=IMAGES, steps=4, out=run)
    return [line["images_per_second"] for line in metrics(run)]


def test_the_rate_includes_the_time_in_which_the_device_is_waited_for(
    tmp_path: Path, train: Callable[..., str], delay: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Meter, "read", delay(Meter.read))
    found = rates(tmp_path / "run", train, "log_every=0.064")
    assert len(found) == 2
    assert all(0 < rate < 0.1 + 2 * IMAGES / SECONDS for rate in found)


def test_the_rate_excludes_samples_that_are_drawn_between_two_log_points(
    tmp_path: Path, train: Callable[..., str], delay: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(training, "sample_grid", delay(training.sample_grid))
    found = rates(tmp_path / "run", train, "log_every=0.128", "sample_every=0.032")
    assert all(rate > 4 * IMAGES / SECONDS for rate in found)
    assert len(found) == 1
