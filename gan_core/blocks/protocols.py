"""Structural types for `two_player`. There is nothing to inherit: an `nn.Module` with the right signature fits."""

from typing import Protocol

from torch import Tensor

from gan_core.game.phase import Terms


class Generator(Protocol):
    """Maps latents (and labels, if the variant is conditional) to images."""

    def __call__(self, *, z: Tensor) -> Tensor:
        """Returns images (B, C, H, W) in [-1, 1] for latents z; inputs are passed by name."""


class Discriminator(Protocol):
    """Maps images to whatever its loss expects: logits (B,), the outputs of several heads, or images."""

    def __call__(self, images: Tensor) -> Tensor:
        """Returns the input of the loss for images (B, C, H, W) in [-1, 1]."""


class Loss(Protocol):
    """The losses of the discriminator and the generator, both to be minimised.

    Both methods return named scalar terms. Terms that require a gradient are summed; detached terms are only logged.
    """

    def discriminator(self, D: Discriminator, real: Tensor, fake: Tensor) -> Terms:
        """Returns the discriminator's terms for real and generated images, each (B, C, H, W) in [-1, 1]."""

    def generator(self, D: Discriminator, real: Tensor, fake: Tensor) -> Terms:
        """Returns the generator's terms for the same arguments; `real` is needed by relativistic losses."""
