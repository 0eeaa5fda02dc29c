"""An alarm when gradients grow without bound, before they are not finite."""

from collections.abc import Mapping

from gan_core.observers.alarms.watch import Watch
from gan_core.observers.listener import Alarm

_FACTOR = 20.0
"""How many times the largest earlier norm a norm must be."""
_BEFORE, _POINTS = 5, 3
"""Log points in the first half of the log that are compared with, and how many in a row must be too large."""


class ExplodingGradients(Watch):
    """Finds a gradient norm far above the largest one in the first half of the log so far.

    Compared with the points just before, a norm that doubles at each log point would never be large.
    """

    def __init__(self) -> None:
        self._norms: dict[str, list[float]] = {}
        self._large: dict[str, list[int]] = {}

    def log(self, line: Mapping[str, float]) -> Alarm | None:
        """Compares the gradient norm of every phase with those before."""
        seen = int(line["images_seen"])
        for name in (key for key in line if key.endswith("/gradient norm")):
            norms = self._norms.setdefault(name, [])
            earlier = max(norms[: len(norms) // 2], default=0.0)
            known, norm = len(norms) // 2 >= _BEFORE, line[name]
            norms.append(norm)
            if not known or norm <= _FACTOR * earlier:
                self._large.pop(name, None)
                continue
            large = self._large.setdefault(name, [])
            large.append(seen)
            if len(large) == _POINTS:
                return Alarm(
                    kind="exploding gradients",
                    since=large[0],
                    at=seen,
                    seen=f"the {name.partition('/')[0]}'s gradient norm is {norm:.3g}, after at most {earlier:.3g} in "
                    "the first half of the log",
                    remedies=("a lower learning rate", "--clip-norm, with a norm from before"),
                )
        return None
