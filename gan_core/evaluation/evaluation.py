"""The result of an evaluation: metrics, and the protocol that makes them comparable."""

from dataclasses import dataclass
from typing import Any

from torch import Tensor

from gan_core.evaluation.metrics import FEATURELESS, Metrics


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """The metrics of a generator and of real images.

    Attributes:
        protocol: What the metrics depend on besides the generator: the data, the number of samples, the feature space.
        fakes: The generator's metrics.
        floor: The real images' own score (the floor): the metrics of the held-out fold, which a perfect generator would
            reach up to sampling noise.
        notes: Remarks that are needed to interpret the metrics, one sentence each.
        unreliable: Why the metrics in this feature space are unreliable, or "".
        closest: The 16 samples nearest to a training image, each followed by that image: (32, C, H, W) uint8; or None.
    """

    protocol: dict[str, Any]
    fakes: Metrics
    floor: Metrics
    notes: tuple[str, ...]
    unreliable: str
    closest: Tensor | None

    def to_json(self) -> dict[str, Any]:
        """Returns JSON values: the protocol, the metrics by name, and the notes.

        A metric has "value", "samples", "error" if it is known, and "floor" with the floor's "value", "samples" and
        "error". If it is unreliable it has "unreliable": true. A metric that was not computed has only "skipped": the
        reason.
        """
        metrics: dict[str, Any] = {}
        for name, measured in self.fakes.measured.items():
            metrics[name] = {"value": measured.value, "samples": measured.samples}
            if measured.error is not None:
                metrics[name]["error"] = measured.error
            if self.unreliable and name not in FEATURELESS:
                metrics[name]["unreliable"] = True
            if (floor := self.floor.measured.get(name)) is not None:
                metrics[name]["floor"] = {"value": floor.value, "samples": floor.samples}
                if floor.error is not None:
                    metrics[name]["floor"]["error"] = floor.error
        metrics |= {name: {"skipped": why} for name, why in self.fakes.skipped.items()}
        return {"protocol": self.protocol, "metrics": metrics, "notes": list(self.notes)}
