"""The learning rate schedule, a function of the images that the discriminator has seen."""

import math
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, kw_only=True, slots=True)
class Schedule:
    """A factor that falls from 1 to `final` between two points of a run, and stays there.

    Attributes:
        kind: "constant" stays at 1, "linear" decays linearly, "cosine" along half a cosine wave (Loshchilov & Hutter
            2017, equation 5, without restarts).
        begin: Images seen where the decay begins.
        end: Images seen where the decay ends.
        final: The factor at the end.
    """

    kind: Literal["constant", "linear", "cosine"]
    begin: int
    end: int
    final: float

    def __call__(self, images_seen: int) -> float:
        """Returns the factor after `images_seen` images."""
        if self.kind == "constant" or images_seen <= self.begin:
            return 1.0
        progress = min(1.0, (images_seen - self.begin) / max(1, self.end - self.begin))
        decayed = progress if self.kind == "linear" else (1 - math.cos(math.pi * progress)) / 2
        return 1.0 + (self.final - 1.0) * decayed
