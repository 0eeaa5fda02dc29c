"""The interface of feature spaces, and the object that a plugin exports to provide one."""

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
"""The version of the feature-space interface that this gan_core supports. CHANGELOG.md lists every change."""


class SpaceUnavailableError(Exception):
    """A feature space is not available; the message is the reason with which metrics that need it are skipped."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Embedding:
    """The output of a feature space for N images.

    Attributes:
        features: (N, d) floating point.
        probabilities: The probability of each class of the data set, (N, K), or None if the space does not predict
            classes.
    """

    features: Tensor
    probabilities: Tensor | None = None


class FeatureSpace(Protocol):
    """Maps images to features, deterministically. Implementations need not inherit from this protocol.

    A space may also have `unreliable: str`, a reason for which its metrics are marked as unreliable.
    """

    @property
    def fingerprint(self) -> str:
        """A hash that changes when the features change. Metrics are comparable only if it is the same."""

    @property
    def provenance(self) -> str:
        """The origin and quality of the space, in one line."""

    def __call__(self, images: Tensor) -> Embedding:
        """Embeds images (N, C, H, W) uint8 on the device that the space was opened for, without gradients."""


def unreliable(space: FeatureSpace | None) -> str:
    """Returns why metrics in this space are unreliable, or "" if they are not or there is no space."""
    return str(getattr(space, "unreliable", ""))


@dataclass(frozen=True, kw_only=True, slots=True)
class Features:
    """One kind of feature space: the target of an entry point in the group `gan_core.features`.

    Attributes:
        api: The version of the interface it was written for: `api=1`.
        options: The class of its options, a subclass of `Options` in which every field has a default.
        open: `open(options, data, device, console)` returns the space for this data set, on the device. It raises
            ValueError, before any expensive work, if the options do not fit the data, and `SpaceUnavailableError` if
            something that it needs is missing. The console shows progress. The main process calls it first, so that
            the other processes find what it cached.
        needs_labels: Whether the data set must have labels; if it has none, this is an error before it is read.
    """

    api: int
    options: type[Options]
    open: Callable[[Any, "RealData", torch.device, "Console"], FeatureSpace]
    needs_labels: bool = False
