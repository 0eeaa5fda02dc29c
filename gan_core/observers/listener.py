"""What observers may be told besides what the training loop calls: evaluations, and alarms."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from gan_core.training.observer import Observer


@dataclass(frozen=True, kw_only=True, slots=True)
class Alarm:
    """A sign that training goes wrong.

    Attributes:
        kind: "saturated discriminator", "collapse", "exploding gradients" or "slow".
        since: Images seen when it began.
        at: Images seen when it was noticed.
        seen: What was seen, with its numbers.
        remedies: Two things to try.
    """

    kind: str
    since: int
    at: int
    seen: str
    remedies: tuple[str, str]

    @property
    def text(self) -> str:
        """The alarm in a sentence or two."""
        first, second = self.remedies
        return f"{self.kind} since {self.since / 1000:g} kimg: {self.seen}. Try: {first}; or {second}"


class Listener(Observer):
    """An observer that is also told of evaluations and alarms; each overrides the methods it needs."""

    def evaluated(self, images_seen: int, evaluation: Mapping[str, Any]) -> None:
        """Called with the result of each evaluation, as `Evaluation.to_json` returns it, before its log line."""

    def warned(self, alarm: Alarm) -> None:
        """Called with each alarm."""
