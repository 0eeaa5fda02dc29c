"""The interface of what watches for one kind of alarm."""

from collections.abc import Mapping
from typing import Any

from gan_core.observers.listener import Alarm


class Watch:
    """Returns an alarm when it finds one, once until things are well again; each overrides the methods it needs."""

    def log(self, line: Mapping[str, float]) -> Alarm | None:
        """Looks at a log line."""

    def sample(self, images_seen: int) -> Alarm | None:
        """Looks at the samples of a grid."""

    def evaluated(self, images_seen: int, evaluation: Mapping[str, Any]) -> Alarm | None:
        """Looks at an evaluation, as `Evaluation.to_json` returns it."""
