"""An alarm when training becomes much slower than it was, as it does where other programs use the same cores."""

from collections import deque
from collections.abc import Mapping
from statistics import median

from gan_core.observers.alarms.watch import Watch
from gan_core.observers.listener import Alarm

_FRACTION = 4
"""A rate is low below this fraction (1/4) of the usual one, and usual again above half of it."""
_FEWEST, _MOST = 5, 100
"""Log points from which the usual rate is known, and how many of the last ones are its median."""
_SECONDS = 5.0
"""For how long the rate must be low: log points may be a few milliseconds apart."""


class Slowdown(Watch):
    """Finds images per second below a quarter of their median so far, and again after a recovery."""

    def __init__(self, images_seen: int) -> None:
        """Stores the images already seen when the run starts."""
        self._seen = self._since = images_seen
        self._rates: deque[float] = deque(maxlen=_MOST)
        self._low_for = 0.0
        self._warned = False

    def log(self, line: Mapping[str, float]) -> Alarm | None:
        """Compares the rate of this log point with the usual one."""
        rate, before, self._seen = line["images_per_second"], self._seen, int(line["images_seen"])
        usual = median(self._rates) if len(self._rates) >= _FEWEST else rate
        if rate >= usual / _FRACTION:
            self._rates.append(rate)
            self._low_for = 0.0
            self._warned = self._warned and rate < usual / 2
            return None
        self._since = before if self._low_for == 0 else self._since
        self._low_for += (self._seen - before) / max(rate, 0.1)
        if self._low_for < _SECONDS or self._warned:
            return None
        self._warned = True
        return Alarm(
            kind="slow",
            since=self._since,
            at=self._seen,
            seen=f"{rate:,.0f} images/s after {usual:,.0f} before. Other programs may need the same cores",
            remedies=(
                "stop them",
                "interrupt this run and repeat its command with --threads 1, or with OMP_WAIT_POLICY=passive set",
            ),
        )
