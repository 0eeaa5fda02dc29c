"""Inputs of generators other than normal latents: uniform latents, and latents with a class."""

import numpy as np
import torch

from gan_core.game.batch import Inputs
from gan_core.game.output import Draw, Request


def uniform_latents(size: int, low: float = -1.0, high: float = 1.0) -> Draw:
    """Returns a `draw` of latents z ~ U[low, high), float32 of shape (B, size)."""

    def draw(random: np.random.Generator, request: Request) -> Inputs:
        drawn = random.random((request.count, size), dtype=np.float32)
        return {"z": torch.from_numpy(np.float32(high - low) * drawn + np.float32(low))}

    return draw


def conditional_latents(latents: Draw, classes: int) -> Draw:
    """Returns a `draw` of the latents and of labels (B,) int64: those of the request, or each class equally often.

    The output needs `given=("labels",)`, so that samples of a class can be requested.

    Args:
        latents: Draws the latents, e.g. `normal_latents(128)`.
        classes: Number of classes.
    """

    def draw(random: np.random.Generator, request: Request) -> Inputs:
        drawn = latents(random, request)
        labels = torch.from_numpy(random.integers(classes, size=request.count))
        return {**drawn, "labels": request.given.get("labels", labels)}

    return draw
