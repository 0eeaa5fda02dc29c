"""What the live view remembers of a term and of an evaluation."""

from dataclasses import dataclass
from typing import Literal

_FAST, _SLOW = 0.5, 0.1
"""Weights of a new value in the two moving averages whose difference is the trend."""
_LEVEL = 0.02
"""The relative difference up to which a term is level."""


class History:
    """The newest and the lowest value of a term, and its trend."""

    def __init__(self) -> None:
        self.newest, self.lowest = 0.0, float("inf")
        self._fast = self._slow = float("nan")

    def add(self, value: float) -> None:
        """Adds the value of a log point."""
        first = self._fast != self._fast
        self._fast = value if first else self._fast + _FAST * (value - self._fast)
        self._slow = value if first else self._slow + _SLOW * (value - self._slow)
        self.newest, self.lowest = value, min(self.lowest, value)

    @property
    def trend(self) -> Literal[-1, 0, 1]:
        """Whether the term falls (-1), is level within 2 % (0), or rises (1) over about the last ten log points."""
        change = self._fast - self._slow
        if abs(change) <= _LEVEL * abs(self._slow):
            return 0
        return 1 if change > 0 else -1


@dataclass(frozen=True, kw_only=True, slots=True)
class Measured:
    """A metric of an evaluation.

    Attributes:
        title: Its name in tables.
        value: Its value.
        floor: The real images' own score, or None.
        direction: -1 if lower is better, 1 if higher is, 0 if neither.
    """

    title: str
    value: float
    floor: float | None
    direction: int

    def better(self, other: float) -> float:
        """Returns the better one of this value and another; this one if neither is."""
        return {-1: min(self.value, other), 0: self.value, 1: max(self.value, other)}[self.direction]
