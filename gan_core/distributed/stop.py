"""Stopping on a signal: after a signal to any process, all processes stop after the same step.

A process whose launcher was killed stops in the same way: it would go on unseen, in a folder that others may use.
"""

import os
import signal
import threading
import time
from types import FrameType, TracebackType

import torch
from accelerate import Accelerator

from gan_core.distributed.launcher import was_launched

_SIGNALS = (signal.SIGTERM, signal.SIGINT, *([signal.SIGUSR1] if hasattr(signal, "SIGUSR1") else []))
_AGREE_EVERY = 1.0
"""Approximate seconds between collective checks; a check in every step would stall the GPU in every step."""
_REPEATED_AFTER = 3.0
"""Seconds after which another Ctrl-C stops at once. Launchers repeat the first one immediately, within this time."""


class StopRequests:
    """A context manager that catches SIGTERM, SIGINT and SIGUSR1 and records that one arrived.

    A SIGINT more than 3 seconds after the first signal (a second Ctrl-C) raises KeyboardInterrupt as usual.
    """

    def __init__(self, accelerator: Accelerator) -> None:
        self.accelerator = accelerator
        self.received: int | None = None
        self._launcher = os.getppid() if was_launched() else None
        self._received_at = self._agreed_at = 0.0
        self._interval = self._steps_left = 0

    def __enter__(self) -> "StopRequests":
        # Python delivers signals to the main thread only; in another one, the run cannot be stopped by them.
        main = threading.current_thread() is threading.main_thread()
        self._before = {number: signal.signal(number, self._record) for number in _SIGNALS if main}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def agreed(self) -> bool:
        """Returns whether to stop now, the same on all processes.

        Call it on all processes before every step. They communicate about once a second.
        """
        if self.accelerator.num_processes == 1:
            return self._requested()
        if self._steps_left:
            self._steps_left -= 1
            return False
        # Each process sends whether it got a signal and its time per step; the slowest sets the next interval.
        now = time.monotonic()
        seconds = (now - self._agreed_at) / self._interval if self._interval else _AGREE_EVERY
        mine = torch.tensor([[float(self._requested()), seconds]], device=self.accelerator.device)
        stop, slowest = self.accelerator.gather(mine).amax(0).tolist()
        self._agreed_at, self._interval = now, round(min(max(_AGREE_EVERY / max(slowest, 1e-6), 1), 64))
        self._steps_left = self._interval - 1
        return bool(stop)

    def _requested(self) -> bool:
        orphaned = self._launcher is not None and os.getppid() != self._launcher
        return orphaned or self.received is not None

    def _record(self, number: int, frame: FrameType | None) -> None:
        del frame
        now = time.monotonic()
        if self.received is None:
            self.received, self._received_at = number, now
        elif number == signal.SIGINT and now - self._received_at > _REPEATED_AFTER:
            raise KeyboardInterrupt
