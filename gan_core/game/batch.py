"""The batch that a loss receives: real images, labels, the generator's inputs, and random numbers."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from gan_core.transfer import to_device

Inputs = Mapping[str, Tensor]
"""Keyword arguments of the generator, `generator(**inputs)`; the first dimension of each is the batch."""


class Randomness(Protocol):
    """Random numbers for one update: identical for any number of processes and after a resume.

    They are on the batch's device and have the dtype of its images.
    """

    def uniform(self, *shape: int) -> Tensor:
        """Returns a sample of U[0, 1) of shape (B, *shape): one tensor of `shape` per real image."""

    def normal(self, *shape: int) -> Tensor:
        """Returns a sample of N(0, 1) of shape (B, *shape): one tensor of `shape` per real image."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Batch:
    """One micro-batch on this process: B real images, and the generator's inputs for the fakes.

    Everything is on the run's device. Floating-point tensors are float32, or float64 with precision fp64.

    Attributes:
        images: Real images, (B, C, H, W) in [-1, 1].
        labels: Class labels of the images, (B,) int64, or None if the data set has none.
        inputs: The generator's inputs for B · `Phase.fakes` fakes, as returned by the game's `draw`.
        random: Random numbers for the loss, such as the ε of a gradient penalty.
    """

    images: Tensor
    labels: Tensor | None
    inputs: Inputs
    random: Randomness


def place(inputs: Inputs, device: torch.device, dtype: torch.dtype) -> Inputs:
    """Returns the inputs on `device`, floating-point tensors converted to `dtype`."""
    return {
        name: to_device(tensor, device, dtype if tensor.is_floating_point() else tensor.dtype)
        for name, tensor in inputs.items()
    }
