"""The three roles of a two-player GAN. There is nothing to inherit: an `nn.Module` of the right shape fits."""

from typing import Protocol

from torch import Tensor

from gan_core.game.phase import Terms


class Generator(Protocol):
    """Turns latents (and labels, where the variant is conditional) into images."""

    def __call__(self, *, z: Tensor) -> Tensor:
        """Maps its inputs, given by name, to images (B, C, H, W) in [-1, 1]."""


class Discriminator(Protocol):
    """Judges images. What it returns is the business of its loss alone: logits (B,), two heads, even an image."""

    def __call__(self, images: Tensor) -> Tensor:
        """Maps images (B, C, H, W) in [-1, 1] to what the loss expects."""


class Loss(Protocol):
    """What either player wants to be small. Terms that you detach are logged and do not count."""

    def discriminator(self, D: Discriminator, real: Tensor, fake: Tensor) -> Terms:
        """The discriminator's terms, from real and generated images (B, C, H, W) in [-1, 1]."""

    def generator(self, D: Discriminator, real: Tensor, fake: Tensor) -> Terms:
        """The generator's terms. `real` is there for relativistic losses."""
