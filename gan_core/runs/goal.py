"""Which metrics are better when they are lower, and which when they are higher. This module does not import torch."""

from collections.abc import Iterable, Mapping
from typing import Literal

Goal = Literal["min", "max"]

LOWER = ("fid", "fid_per_trace", "kid", "fid50k", "kid50k", "kl", "copies", "l1")
HIGHER = (
    *("precision", "recall", "density", "coverage", "modes", "confidence", "agreement", "unique", "gan_train"),
    "psnr",
)


def goal_of(name: str) -> Goal | None:
    """Returns whether the lowest or the highest value of a metric is the best; None if neither is, as of losses.

    Args:
        name: The metric as in metrics.jsonl: "evaluation@2000/fid", or of another output "evaluation@2000/a/fid".
    """
    first, _, last = name.partition("/")
    metric = last.rpartition("/")[2] if first.startswith("evaluation@") else ""
    return "min" if metric in LOWER else "max" if metric in HIGHER else None


def best_values(lines: Iterable[Mapping[str, float]], goals: Mapping[str, Goal] | None = None) -> dict[str, float]:
    """Returns the best value of each metric of a log.

    Args:
        lines: The log's lines.
        goals: Further metrics, and those for which another value is the best than `goal_of` says.
    """
    best: dict[str, float] = {}
    for line in lines:
        for name, value in line.items():
            goal = (goals or {}).get(name) or goal_of(name)
            if goal is not None:
                best[name] = (min if goal == "min" else max)(value, best.get(name, value))
    return best
