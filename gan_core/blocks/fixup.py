"""Initial weights for networks without normalisation: MSR's, and Fixup's for residual branches."""

from collections.abc import Sequence
from math import sqrt
from typing import TypeVar

from torch import nn

Weighted = TypeVar("Weighted", nn.Conv2d, nn.Linear)

LEAKY_GAIN = sqrt(2 / (1 + 0.2**2))
"""The gain of a leaky ReLU with slope 0.2 (He et al. 2015, equation 15)."""


def msr(layer: Weighted, gain: float = 1.0) -> Weighted:
    """Draws weights from N(0, gain² / fan in), and sets biases to 0; returns the same layer.

    He et al. 2015, Delving Deep into Rectifiers, equation 10, where the gain is √2 after a ReLU.

    Args:
        layer: A dense layer or a convolution. The fan in is that of one group of the convolution.
        gain: Standard deviation of the layer's result for inputs with independent elements of variance 1.
    """
    nn.init.normal_(layer.weight, 0.0, gain / sqrt(layer.weight[0].numel()))
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
    return layer


def fixup(layers: Sequence[Weighted], blocks: int, gain: float = LEAKY_GAIN) -> None:
    """Draws the initial weights of the layers of one residual branch, in order.

    Zhang et al. 2019, Fixup Initialization, section 3: the last layer is 0, so that a block begins as the identity,
    and the others are MSR's, scaled by L^(-1 / (2m - 2)).

    Args:
        layers: The m layers of the branch, at least 2.
        blocks: L, residual blocks in the network.
        gain: The gain of the activations.
    """
    for layer in layers[:-1]:
        msr(layer, gain * blocks ** (-1 / (2 * len(layers) - 2)))
    msr(layers[-1], 0.0)
