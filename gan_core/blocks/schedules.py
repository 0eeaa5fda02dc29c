"""Values that change in the course of a run, for `Phase.tune`, weights in losses, and `Game.half_life`."""

from collections.abc import Callable
from math import cos, pi

from gan_core.game.batch import Moment

Schedule = Callable[[Moment], float]
"""Returns the value where the run stands."""


def cosine(start: float, end: float, over: float) -> Schedule:
    """Returns a value that goes from `start` to `end` along half a cosine wave, and stays there.

    Loshchilov & Hutter 2017, equation 5, without restarts: end + (start - end) (1 + cos(π t)) / 2, where t goes from 0
    to 1.

    Args:
        start: The value at the beginning.
        end: The value from `over` images on.
        over: Images seen until then, above 0.
    """

    def value(moment: Moment) -> float:
        progress = min(1.0, moment.images_seen / over)
        return end + (start - end) * (1 + cos(pi * progress)) / 2

    return value
