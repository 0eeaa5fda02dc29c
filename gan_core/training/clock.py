"""The time that training takes, for the rate in images per second."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

import torch


class Clock:
    """Counts seconds since it was started, without its pauses.

    Read it after the device was waited for: on a GPU, work is queued in a fraction of the time that it takes.
    """

    def __init__(self, device: torch.device) -> None:
        """Starts it. `device` is that of the networks."""
        self.device, self.started = device, time.monotonic()

    def restart(self) -> None:
        """Starts again at 0."""
        self.started = time.monotonic()

    def seconds(self) -> float:
        """Returns the seconds that were counted."""
        return time.monotonic() - self.started

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Does not count the time inside, in which the device must finish its work. Before, it waits for the device."""
        if self.device.type != "cpu":
            torch.accelerator.synchronize(self.device)
        paused = time.monotonic()
        yield
        self.started += time.monotonic() - paused
