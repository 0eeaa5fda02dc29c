"""LSGAN: least-squares losses instead of the cross-entropy, on the networks of DCGAN.

Fakes on the correct side of the decision boundary but far from it still give the generator a gradient.
"""

from typing import ClassVar

from gan_core_dcgan import DcganNetworkOptions, dcgan_networks
from pydantic import Field
from torch import Tensor

from gan_core import (
    AugmentOptions,
    DataSpec,
    Discriminator,
    Game,
    PenaltyOptions,
    Terms,
    TwoPlayerOptions,
    Variant,
    normal_latents,
    precise_mean,
    two_player,
)


class LsganOptions(AugmentOptions, DcganNetworkOptions, PenaltyOptions, TwoPlayerOptions):
    """Options of LSGAN.

    The paper has two settings: a, b, c = 0, 1, 1 (equation 9, the default) and -1, 1, 0 (equation 8), which minimises a
    Pearson χ² divergence, since b - c = 1 and b - a = 2.
    """

    a: float = Field(0.0)
    """The discriminator's target for generated images: 0 or -1 in the paper."""
    b: float = Field(1.0)
    """The discriminator's target for real images: 1 in the paper."""
    c: float = Field(1.0)
    """The generator's target for the discriminator's output on generated images: 1 or 0 in the paper."""

    unsuitable: ClassVar = {
        "label_smoothing": "it softens the labels of a cross-entropy, and least squares has targets instead: "
        "set b, the target for real images",
        "objective": "least squares is this variant's objective: --variant dcgan has others",
    }


class LeastSquares:
    """The losses of Mao et al. 2017, equation 2. D returns one unbounded score per image, (B,)."""

    def __init__(self, a: float, b: float, c: float) -> None:
        self.a, self.b, self.c = a, b, c

    def discriminator(self, D: Discriminator, real: Tensor, fake: Tensor) -> Terms:
        """(1/2) E[(D(x) - b)²] + (1/2) E[(D(G(z)) - a)²]."""
        on_real, on_fake = D(real), D(fake)
        return {
            "real": 0.5 * precise_mean((on_real - self.b).square()),
            "fake": 0.5 * precise_mean((on_fake - self.a).square()),
            "D(real)": precise_mean(on_real.detach()),
            "D(fake)": precise_mean(on_fake.detach()),
        }

    def generator(self, D: Discriminator, real: Tensor, fake: Tensor) -> Terms:
        """(1/2) E[(D(G(z)) - c)²]."""
        del real
        return {"adversarial": 0.5 * precise_mean((D(fake) - self.c).square())}


def build(options: LsganOptions, data: DataSpec) -> Game:
    """Returns the game; see `dcgan_networks` for the images that it supports."""
    generator, discriminator = dcgan_networks(options, data)
    game = two_player(
        generator=generator,
        discriminator=discriminator,
        loss=options.penalise(LeastSquares(options.a, options.b, options.c)),
        draw=normal_latents(options.latent),
        **options.turns(),
    )
    return options.augmented(game, data, boundary=(options.a + options.b) / 2)


variant = Variant(
    api=2,
    options=LsganOptions,
    build=build,
    paper="Mao et al. 2017, Least Squares Generative Adversarial Networks, https://arxiv.org/abs/1611.04076",
    small={"width": 8},
)
