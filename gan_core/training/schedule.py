"""Schedules: numbers that depend on how many images the discriminator has seen, and on nothing else."""

import math
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, kw_only=True, slots=True)
class Schedule:
    """Goes from 1 to `final` between two points of a run, and stays there.

    Attributes:
        kind: "constant" stays at 1, "linear" goes straight, "cosine" along half a cosine wave (Loshchilov & Hutter
            2017, equation 5, without restarts).
        begin: Images seen where it begins to fall.
        end: Images seen where it arrives.
        final: Where it arrives, as a factor of the value at the start.
    """

    kind: Literal["constant", "linear", "cosine"]
    begin: int
    end: int
    final: float

    def __call__(self, images_seen: int) -> float:
        """Returns the factor after so many images."""
        if self.kind == "constant" or images_seen <= self.begin:
            return 1.0
        way = min(1.0, (images_seen - self.begin) / max(1, self.end - self.begin))
        fallen = way if self.kind == "linear" else (1 - math.cos(math.pi * way)) / 2
        return 1.0 + (self.final - 1.0) * fallen
