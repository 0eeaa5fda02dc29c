"""What an evaluation found, with the protocol that makes its figures comparable."""

from dataclasses import dataclass
from typing import Any

from torch import Tensor

from gan_core.evaluation.figures import Figures


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """The figures of a generator, and of real images in its place.

    Attributes:
        protocol: What they depend on besides the generator: the data, the number of samples, the feature space.
        fakes: The generator's figures.
        floor: The held-out fold's: what a perfect generator would score, give or take chance.
        notes: What a reader has to know, in sentences.
        closest: The 16 samples nearest to a training image, each followed by that image: (32, C, H, W) uint8; or None.
    """

    protocol: dict[str, Any]
    fakes: Figures
    floor: Figures
    notes: tuple[str, ...]
    closest: Tensor | None

    def to_json(self) -> dict[str, Any]:
        """Returns plain values: protocol, figures by name, notes.

        A figure has "value", "samples", "error" where it is known, and the same of the floor in "floor", or
        "skipped", the reason why it could not be had.
        """
        figures: dict[str, Any] = {}
        for name, measured in self.fakes.measured.items():
            figures[name] = {"value": measured.value, "samples": measured.samples}
            if measured.error is not None:
                figures[name]["error"] = measured.error
            if (floor := self.floor.measured.get(name)) is not None:
                figures[name]["floor"] = {"value": floor.value, "samples": floor.samples}
                if floor.error is not None:
                    figures[name]["floor"]["error"] = floor.error
        figures |= {name: {"skipped": why} for name, why in self.fakes.skipped.items()}
        return {"protocol": self.protocol, "figures": figures, "notes": list(self.notes)}
