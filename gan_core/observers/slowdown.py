"""A warning when training becomes much slower than it was, as it does where other programs use the same cores."""

from collections import deque
from statistics import median

from gan_core.console import warn
from gan_core.training.observer import Observer

_FRACTION = 4
"""A rate is low below this fraction (1/4) of the usual one, and usual again above half of it."""
_FEWEST, _MOST = 5, 100
"""Log points from which the usual rate is known, and how many of the last ones are its median."""
_SECONDS = 5.0
"""For how long the rate must be low: log points may be a few milliseconds apart."""


class SlowdownWarning(Observer):
    """Warns once when images per second fall below a quarter of their median so far, and again after a recovery."""

    def __init__(self, images_seen: int) -> None:
        """Stores the images already seen when the run starts."""
        self._seen = images_seen
        self._rates: deque[float] = deque(maxlen=_MOST)
        self._low_for = 0.0
        self._warned = False

    def log(self, line: dict[str, float]) -> None:
        """Compares the rate of this log point with the usual one."""
        rate, seen = line["images_per_second"], int(line["images_seen"])
        seconds, self._seen = (seen - self._seen) / max(rate, 0.1), seen
        usual = median(self._rates) if len(self._rates) >= _FEWEST else rate
        if rate >= usual / _FRACTION:
            self._rates.append(rate)
            self._low_for = 0.0
            self._warned = self._warned and rate < usual / 2
            return
        self._low_for += seconds
        if self._low_for >= _SECONDS and not self._warned:
            self._warned = True
            warn(
                f"{rate:,.0f} images/s after {usual:,.0f} before: other programs may need the same cores. Stop them, "
                "or interrupt this run and repeat its command with --threads 1, or with OMP_WAIT_POLICY=passive set"
            )
