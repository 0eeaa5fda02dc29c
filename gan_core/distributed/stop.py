"""Stopping when asked: on a signal to any process, all of them agree to stop after the same round."""

import signal
import time
from types import FrameType, TracebackType

import torch
from accelerate import Accelerator

_SIGNALS = (signal.SIGTERM, signal.SIGINT, *([signal.SIGUSR1] if hasattr(signal, "SIGUSR1") else []))
_AGREE_EVERY = 1.0
"""Seconds between two agreements, roughly: asking at every round would make a GPU wait for each."""
_IMPATIENT = 3.0
"""Seconds after which another Ctrl-C means it. Launchers repeat the first one at once."""


class StopRequests:
    """While open, catches SIGTERM, SIGINT and SIGUSR1 and remembers that one came.

    A SIGINT some seconds after the first signal (Ctrl-C again) raises KeyboardInterrupt as ever.
    """

    def __init__(self, accelerator: Accelerator) -> None:
        self.accelerator = accelerator
        self.received: int | None = None
        self._received_at = self._asked_at = 0.0
        self._interval = self._rounds_left = 0

    def __enter__(self) -> "StopRequests":
        self._before = {number: signal.signal(number, self._note) for number in _SIGNALS}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def agreed(self) -> bool:
        """Says whether to stop now. Every process must ask before every round; about once a second they agree."""
        if self.accelerator.num_processes == 1:
            return self.received is not None
        if self._rounds_left:
            self._rounds_left -= 1
            return False
        # Each says whether it was asked to stop and how long a round took; the slowest one tells when to ask again.
        now = time.monotonic()
        seconds = (now - self._asked_at) / self._interval if self._interval else _AGREE_EVERY
        mine = torch.tensor([[float(self.received is not None), seconds]], device=self.accelerator.device)
        stop, slowest = self.accelerator.gather(mine).amax(0).tolist()
        self._asked_at, self._interval = now, round(min(max(_AGREE_EVERY / max(slowest, 1e-6), 1), 64))
        self._rounds_left = self._interval - 1
        return bool(stop)

    def _note(self, number: int, frame: FrameType | None) -> None:
        del frame
        now = time.monotonic()
        if self.received is None:
            self.received, self._received_at = number, now
        elif number == signal.SIGINT and now - self._received_at > _IMPATIENT:
            raise KeyboardInterrupt
