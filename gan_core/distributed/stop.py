"""Stopping when asked: on a signal to any process, all of them agree to stop after the same round."""

import signal
from types import FrameType, TracebackType

import torch
from accelerate import Accelerator

_SIGNALS = (signal.SIGTERM, signal.SIGINT, *([signal.SIGUSR1] if hasattr(signal, "SIGUSR1") else []))


class StopRequests:
    """While open, catches SIGTERM, SIGINT and SIGUSR1 and remembers that one came.

    A second SIGINT (Ctrl-C again) raises KeyboardInterrupt as ever.
    """

    def __init__(self, accelerator: Accelerator) -> None:
        self.accelerator = accelerator
        self.received: int | None = None

    def __enter__(self) -> "StopRequests":
        self._before = {number: signal.signal(number, self._note) for number in _SIGNALS}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def agreed(self, step: int) -> bool:
        """Says whether to stop now. Every process must ask at every step; they agree at every eighth."""
        if self.accelerator.num_processes == 1:
            return self.received is not None
        if step % 8:
            return False
        flag = torch.tensor(float(self.received is not None), device=self.accelerator.device)
        return bool(self.accelerator.reduce(flag, "sum") > 0)

    def _note(self, number: int, frame: FrameType | None) -> None:
        del frame
        if number == signal.SIGINT and self.received == signal.SIGINT:
            raise KeyboardInterrupt
        self.received = number
