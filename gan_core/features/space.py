"""A feature space, and the object that a plugin exports to offer one."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import torch
from torch import Tensor

from gan_core.game.variant import Options

if TYPE_CHECKING:
    from rich.console import Console

    from gan_core.features.real_data import RealData

FEATURES_API = 1
"""The interface of feature spaces that this gan_core speaks. It changes only with an entry in CHANGELOG.md."""


class SpaceUnavailableError(Exception):
    """A feature space cannot be had here, and why. Metrics that need it are skipped with that reason."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Embedding:
    """What a feature space says of N images.

    Attributes:
        features: (N, d) floating point.
        probabilities: Of each class of the data set, (N, K), or None where the space knows no classes.
    """

    features: Tensor
    probabilities: Tensor | None = None


class FeatureSpace(Protocol):
    """Turns images into features. Nothing to inherit; the same images must give the same features at any time."""

    @property
    def fingerprint(self) -> str:
        """A hash that changes when the features do. Metrics are compared only where it is the same."""

    @property
    def provenance(self) -> str:
        """Where the space comes from and how good it is, in a line for people."""

    def __call__(self, images: Tensor) -> Embedding:
        """Embeds images (N, C, H, W) uint8 on the device that the space was opened for, without gradients."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Features:
    """One kind of feature space, as an entry point in the group `gan_core.features` names it.

    Attributes:
        api: The interface it was written for: `api=1`.
        options: Its options, a subclass of `Options` in which every field has a default.
        open: `open(options, data, device, console)` makes the space for this data set, on the device. It raises
            ValueError where the options and the data do not fit each other, before anything expensive, and
            `SpaceUnavailableError` where something is missing here. The console is for progress. On several processes
            the main one opens it first, so that what it caches is there for the others.
    """

    api: int
    options: type[Options]
    open: Callable[[Any, "RealData", torch.device, "Console"], FeatureSpace]
