"""What an evaluation found, with the protocol that makes its metrics comparable."""

from dataclasses import dataclass
from typing import Any

from torch import Tensor

from gan_core.evaluation.metrics import Metrics


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """The metrics of a generator, and of real images in its place.

    Attributes:
        protocol: What they depend on besides the generator: the data, the number of samples, the feature space.
        fakes: The generator's metrics.
        floor: The held-out fold's: what a perfect generator would score, give or take chance.
        notes: What a reader has to know, in sentences.
        closest: The 16 samples nearest to a training image, each followed by that image: (32, C, H, W) uint8; or None.
    """

    protocol: dict[str, Any]
    fakes: Metrics
    floor: Metrics
    notes: tuple[str, ...]
    closest: Tensor | None

    def to_json(self) -> dict[str, Any]:
        """Returns plain values: protocol, metrics by name, notes.

        A metric has "value", "samples", "error" where it is known, and the same of the floor in "floor", or
        "skipped", the reason why it could not be had.
        """
        metrics: dict[str, Any] = {}
        for name, measured in self.fakes.measured.items():
            metrics[name] = {"value": measured.value, "samples": measured.samples}
            if measured.error is not None:
                metrics[name]["error"] = measured.error
            if (floor := self.floor.measured.get(name)) is not None:
                metrics[name]["floor"] = {"value": floor.value, "samples": floor.samples}
                if floor.error is not None:
                    metrics[name]["floor"]["error"] = floor.error
        metrics |= {name: {"skipped": why} for name, why in self.fakes.skipped.items()}
        return {"protocol": self.protocol, "metrics": metrics, "notes": list(self.notes)}
