"""When each step of a run ends, and what a log point, a grid of samples and a checkpoint take.

A run has a log point, a grid and a checkpoint after each window of so many steps. Between them nothing is measured, so
that the rate is that of training by itself.
"""

import time
from statistics import fmean, median
from typing import TYPE_CHECKING

import torch

from gan_core.training.observer import Observer

if TYPE_CHECKING:
    from PIL import Image


def now(device: torch.device) -> float:
    """Returns the time in seconds when the device has done all of its work."""
    if device.type != "cpu":
        torch.accelerator.synchronize(device)
    return time.perf_counter()


class Stopwatch(Observer):
    """Times windows of `window` steps of `step_images` images; what follows the first window is the result."""

    def __init__(self, window: int, step_images: int, device: torch.device) -> None:
        """Starts before the first step."""
        self.window, self.step_images, self.device = window, step_images, device
        self.steps: list[float] = []  # Seconds a step, by window; the first step of each is left out.
        self.logs: list[float] = []
        self.samples: list[float] = []
        self.rests: list[float] = []  # A checkpoint, and the first step after it.
        self._since = 0.0

    def advance(self, images_seen: int) -> None:
        """Waits for the device at both ends of a window only."""
        at = images_seen // self.step_images % self.window
        if at not in (0, 1):
            return
        since, self._since = self._since, now(self.device)
        if at == 0:
            self.steps.append((self._since - since) / (self.window - 1))
        elif images_seen > self.step_images:
            self.rests.append(self._since - since)

    def log(self, line: dict[str, float]) -> None:
        """A log point is done."""
        del line
        self._lap(self.logs)

    def sample(self, images_seen: int, grid: "Image.Image") -> None:
        """A grid is drawn and written."""
        del grid
        if images_seen:
            self._lap(self.samples)

    def _lap(self, laps: list[float]) -> None:
        since, self._since = self._since, now(self.device)
        laps.append(self._since - since)

    def seconds(self) -> dict[str, float]:
        """Returns seconds a "step", and a "log", "sample" and "checkpoint"."""
        step = fmean(self.steps[1:])
        return {
            "step": step,
            "log": median(self.logs),
            "sample": median(self.samples),
            "checkpoint": max(0.0, median(self.rests) - step),
        }
