"""pix2pix: translates images of one kind (a) to another (b), learned from pairs.

The generator is a U-Net whose only noise is dropout, the discriminator is a PatchGAN that sees a and b together, and
the generator's loss has an L1 term beside the adversarial one.
"""

from typing import ClassVar, Literal

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from gan_core import (
    Batch,
    DataSpec,
    Discriminator,
    Game,
    Inputs,
    Networks,
    ObjectiveOptions,
    OptimizerOptions,
    Options,
    Output,
    PatchDiscriminator,
    Phase,
    Request,
    Terms,
    UNet,
    Variant,
    precise_mean,
)


class Pix2pixOptions(ObjectiveOptions, OptimizerOptions):
    """Options of pix2pix. The defaults are the paper's."""

    discriminator_weight: float = Field(0.5, gt=0)
    """Weight of both of the discriminator's terms (Isola et al. 2017, section 3.3: half)."""
    l1_weight: float = Field(100.0, ge=0)
    """Weight λ of the L1 term (equation 4)."""
    gan_weight: float = Field(1.0, ge=0)
    """Weight of the generator's adversarial term. 0 trains with L1 alone, without a discriminator."""
    width: int = Field(64, ge=1)
    """Feature maps of the first layer of both networks; they double with each layer, up to 8 times as many."""
    norm: Literal["instance", "batch"] = "instance"
    """The normalisation of both networks. In the paper it is over a batch of one image, also when images are drawn,
    which is instance. batch draws with the running statistics of the training."""
    dropout: float = Field(0.5, ge=0, lt=1)
    """Dropout in the generator's first three blocks of the decoder: the noise."""
    levels: int = Field(8, ge=4)
    """How often the U-Net halves the sides, at most, and as long as they are even: 8 times at 256 pixels, 6 at 64."""
    patch_layers: int = Field(3, ge=1)
    """Layers with stride 2 of the discriminator, at most: 3 judge patches of 70 x 70 pixels, 1 of 16 x 16. Images of 16
    pixels have 2."""

    unsuitable: ClassVar = {
        **dict.fromkeys(("generator", "discriminator"), "a layer list has neither skip connections nor a condition"),
        **dict.fromkeys(("r1", "r2"), "they are for one logit per image, and the discriminator has one per patch"),
    }


class Pix2pixSampling(Options):
    """Options with which samples are drawn."""

    noise: bool = True
    """Dropout also when images are drawn, as in the paper (section 3.2); false gives one image for each input."""


def halvings(height: int, width: int, most: int) -> int:
    """Returns how often both sides can be halved, at most `most` times.

    Raises:
        ValueError: Fewer than four times.
    """
    if height % 16 or width % 16:
        raise ValueError(
            f"images of {width} x {height} do not fit pix2pix: both sides must be multiples of 16. "
            f"Try --image-size {max(16, round(min(height, width) / 16) * 16)}"
        )
    return max(count for count in range(4, most + 1) if height % 2**count == 0 and width % 2**count == 0)


def layers_of_patches(height: int, width: int, most: int) -> int:
    """Returns how many layers with stride 2 images of this size allow, at most `most`."""
    return max(count for count in range(1, most + 1) if count == 1 or min(height, width) >= 3 << count)


def build(options: Pix2pixOptions, data: DataSpec) -> Game:
    """Returns the game.

    Raises:
        ValueError: The images of a pair differ in size, or their sides are no multiples of 16.
    """
    a, b = data.image("a"), data.image("b")
    if a.shape[1:] != b.shape[1:]:
        raise ValueError(
            f"a is {a.width} x {a.height} pixels and b {b.width} x {b.height}, but pix2pix needs images of one size: "
            "pass --image-size PIXELS"
        )
    levels = halvings(b.height, b.width, options.levels)
    loss = options.make_loss()
    make_generator_optimizer, make_discriminator_optimizer = options.make_optimizers()

    def conditional(networks: Networks, batch: Batch) -> Discriminator:
        """D(a, ·): images of b -> logits of patches."""

        def judge(images: Tensor) -> Tensor:
            logits: Tensor = networks["discriminator"](torch.cat((batch.real["a"], images), 1))
            return logits

        return judge

    def translated(networks: Networks, batch: Batch) -> dict[str, Tensor]:
        """G(a), with the same dropout for both networks' losses."""
        return {"b": networks["generator"](batch.real["a"])}

    def discriminator_loss(networks: Networks, batch: Batch) -> Terms:
        """Equation 1, halved: D(a, b) is real, D(a, G(a)) is not."""
        return loss.discriminator(conditional(networks, batch), batch.real["b"], batch.fake["b"])

    def generator_loss(networks: Networks, batch: Batch) -> Terms:
        """Equation 4: the adversarial term and λ E|b - G(a)|; the mean absolute difference is logged as well."""
        b, fake = batch.real["b"], batch.fake["b"]
        distance = precise_mean((fake - b).abs())
        terms = {"reconstruction": options.l1_weight * distance, "L1": distance.detach()}
        if options.gan_weight:
            adversarial = loss.generator(conditional(networks, batch), b, fake)
            terms |= {name: options.gan_weight * term for name, term in adversarial.items()}
        return terms

    def draw(random: np.random.Generator, request: Request) -> Inputs:
        """Returns the images to translate; in training the losses have them."""
        del random
        return dict(request.given)

    def generate(networks: Networks, inputs: Inputs, sampling: Pix2pixSampling) -> Tensor:
        images: Tensor = networks["generator"](inputs["a"], noise=sampling.noise)
        return images

    networks: dict[str, torch.nn.Module] = {
        "generator": UNet(
            a.channels, b.channels, levels=levels, width=options.width, norm=options.norm, dropout=options.dropout
        )
    }
    phases: list[Phase] = []
    if options.gan_weight:
        layers = layers_of_patches(b.height, b.width, options.patch_layers)
        networks["discriminator"] = PatchDiscriminator(
            a.channels + b.channels, width=options.width, layers=layers, norm=options.norm
        )
        phases.append(
            Phase(
                name="discriminator",
                trains=("discriminator",),
                loss=discriminator_loss,
                optimizer=make_discriminator_optimizer,
                make_fake=translated,
            )
        )
    phases.append(
        Phase(
            name="generator",
            trains=("generator",),
            loss=generator_loss,
            optimizer=make_generator_optimizer,
            make_fake=None if options.gan_weight else translated,
            on="discriminator" if options.gan_weight else None,
        )
    )
    return Game(
        networks=networks,
        phases=phases,
        draw=draw,
        outputs={"translated": Output(generate=generate, like="b", given=("a",), columns=("a", "translated", "b"))},
    )


variant = Variant(
    api=2,
    options=Pix2pixOptions,
    build=build,
    paper="Isola et al. 2017, Image-to-Image Translation with Conditional Adversarial Networks, "
    "https://arxiv.org/abs/1611.07004",
    needs=(("a", "b"),),
    defaults={"batch": 1, "epochs": 200, "ema_kimg": 0.0},
    sampling=Pix2pixSampling,
    small={"width": 8},
)
