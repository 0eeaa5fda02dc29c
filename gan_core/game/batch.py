"""What a phase plays with: real images, labels, the generator's inputs, and random numbers."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

Inputs = Mapping[str, Tensor]
"""The generator's inputs by parameter name, each with the batch as its first dimension: `generator(**inputs)`."""


class Randomness(Protocol):
    """Random numbers for one turn: the same on any number of processes, and the same again after a resume."""

    def uniform(self, *shape: int) -> Tensor:
        """Draws from U[0, 1) one tensor of `shape` per image of the batch: (B, *shape)."""

    def normal(self, *shape: int) -> Tensor:
        """Draws from N(0, 1) one tensor of `shape` per image of the batch: (B, *shape)."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Batch:
    """This process's share of one draw from the data set, with the fakes' inputs to match.

    Attributes:
        images: Real images, (B, C, H, W) in [-1, 1].
        labels: Their classes, (B,) int64, or None where the data set has none.
        inputs: The generator's inputs for B fakes (times `Phase.fakes`), as the game's `draw` made them.
        random: More random numbers, for losses that need them (the ε of a gradient penalty).
    """

    images: Tensor
    labels: Tensor | None
    inputs: Inputs
    random: Randomness


def place(inputs: Inputs, device: torch.device, dtype: torch.dtype) -> Inputs:
    """Moves a generator's inputs to the device, and converts those with a floating-point type to `dtype`."""
    return {
        name: tensor.to(device, dtype if tensor.is_floating_point() else tensor.dtype, non_blocking=True)
        for name, tensor in inputs.items()
    }
