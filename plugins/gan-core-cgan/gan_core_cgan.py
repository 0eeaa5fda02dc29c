"""Conditional GAN: fully connected networks, both of which get the class of the image as another input.

The networks and the training of section 4.1 of the paper, which are for MNIST, for images of any size. Needs labelled
data.
"""

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from math import prod, sqrt
from typing import Any, Literal

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from gan_core import (
    Batch,
    DataSpec,
    Dropout,
    Game,
    LabelSmoothing,
    MakeOptimizer,
    Moment,
    Networks,
    Terms,
    TwoPlayerOptions,
    Variant,
    alternating,
    conditional_latents,
    differentiable,
    generated,
    gradient_penalties,
    logistic_terms,
    msr,
    precise_mean,
    sgd,
    uniform_latents,
)


class CganOptions(TwoPlayerOptions):
    """Options of the conditional GAN. The defaults are the paper's (section 4.1), for batches of 100."""

    optimizer: Literal["adam", "sgd"] = "sgd"
    """sgd: gradient descent with momentum; or adam, which does not use lr_decay and final_momentum."""
    lr: float = Field(0.1, gt=0)
    """Learning rate at the beginning."""
    lr_decay: float = Field(1.00004, ge=1)
    """Each step divides the learning rate by it, down to 1e-6."""
    beta1: float = Field(0.5, ge=0, lt=1)
    """Adam's first beta, or the momentum of sgd at the beginning."""
    final_momentum: float = Field(0.7, ge=0, lt=1)
    """The momentum to which that of sgd rises linearly."""
    momentum_kimg: float = Field(12_500.0, gt=0)
    """Thousands of images in which it rises. The paper does not say; this is 250 epochs of 50,000 images, as in the
    program of Goodfellow et al. 2014 for MNIST."""
    latent: int = Field(100, ge=1)
    """Size of the latent z ~ U[0, 1)."""
    width: int = Field(1200, ge=6)
    """Units of the generator's joint layer; all other layers have the paper's proportions to it."""
    dropout: float = Field(0.5, ge=0, lt=1)
    """Dropout probability of the discriminator's hidden layers, in training."""
    generator_dropout: float = Field(0.5, ge=0, lt=1)
    """Dropout probability of the generator's hidden layers, in training. It is noise that can replace the latent."""
    label_smoothing: LabelSmoothing = 0.0
    r1: float = Field(0.0, ge=0)
    """Weight γ of the penalty (γ / 2) E[‖∇D(x | y)‖²] on real images (Mescheder et al. 2018, equation 9), which is not
    in the paper."""

    def make_optimizers(self) -> tuple[MakeOptimizer, MakeOptimizer]:
        """Returns the generator's and the discriminator's; sgd has the paper's momentum, which is not Nesterov's."""
        if self.optimizer == "adam":
            return super().make_optimizers()
        descent = partial(sgd, momentum=self.beta1)
        return descent(lr=self.lr), descent(lr=self.discriminator_lr or self.lr)


class Maxout(nn.Module):
    """x (B, inputs) -> (B, units): the largest of `pieces` linear functions for each unit (Goodfellow et al. 2013)."""

    def __init__(self, inputs: int, units: int, pieces: int) -> None:
        super().__init__()
        self.pieces, self.dense = pieces, nn.Linear(inputs, units * pieces)

    def forward(self, x: Tensor) -> Tensor:
        """Returns the maxima."""
        return self.dense(x).unflatten(1, (-1, self.pieces)).amax(2)  # type: ignore[no-any-return]


class CganGenerator(nn.Module):
    """z (B, latent), labels (B,) -> images (B, C, H, W) in [-1, 1].

    Dense layers with ReLU of 200 units for z, 1,000 for the one-hot label, and 1,200 for both. The paper's sigmoid is a
    tanh here, because pixels are in [-1, 1].
    """

    def __init__(self, options: CganOptions, data: DataSpec) -> None:
        super().__init__()
        self.shape, self.classes = (data.channels, data.image_size, data.image_size), data.classes
        noise, label = options.width // 6, options.width * 5 // 6
        self.latent, self.label = nn.Linear(options.latent, noise), nn.Linear(data.classes, label)
        self.joint, self.pixels = nn.Linear(noise + label, options.width), nn.Linear(options.width, prod(self.shape))
        self.dropout = Dropout(options.generator_dropout)
        # The latents' layer gives a standard deviation of 5, for z has a variance of 1 / 12 about 1 / 2, and
        # the labels' layer one of 1. With torch's weights all samples of a class soon are the same.
        msr(self.latent, 5 * sqrt(12))
        with torch.no_grad():
            self.latent.bias.copy_(-self.latent.weight.sum(1) / 2)
        msr(self.label, sqrt(data.classes))
        msr(self.joint, sqrt(2))
        msr(self.pixels)

    def forward(self, z: Tensor, labels: Tensor) -> Tensor:
        """Returns one image for each latent and label."""
        label = F.one_hot(labels, self.classes).to(z)
        hidden = torch.cat([self.latent(z), self.label(label)], dim=1)
        joint = self.dropout(F.relu(self.joint(self.dropout(F.relu(hidden)))))
        return torch.tanh(self.pixels(joint)).view(-1, *self.shape)


class CganDiscriminator(nn.Module):
    """Images (B, C, H, W), labels (B,) -> logits (B,), positive for real.

    Maxout layers of 240 units with 5 pieces for the image, 50 with 5 for the one-hot label, and 240 with 4 for both.
    """

    def __init__(self, options: CganOptions, data: DataSpec) -> None:
        super().__init__()
        self.classes, units, label = data.classes, options.width // 5, max(1, options.width // 24)
        self.image = Maxout(data.channels * data.image_size**2, units, 5)
        self.label = Maxout(data.classes, label, 5)
        self.joint, self.source = Maxout(units + label, units, 4), nn.Linear(units, 1)
        self.dropout = Dropout(options.dropout)

    def forward(self, images: Tensor, labels: Tensor) -> Tensor:
        """Returns one logit for each image and label."""
        label = F.one_hot(labels, self.classes).to(images)
        hidden = torch.cat([self.image(images.flatten(1)), self.label(label)], dim=1)
        logits: Tensor = self.source(self.dropout(self.joint(self.dropout(hidden))))
        return logits.squeeze(1)


def build(options: CganOptions, data: DataSpec) -> Game:
    """Returns the game; the losses are equation 2 of the paper, the generator's in its non-saturating form."""

    def discriminator_loss(networks: Networks, batch: Batch) -> Terms:
        assert batch.labels is not None
        D, real, fake = networks["discriminator"], differentiable(batch.images, options.r1), batch.fake["images"]
        on_real, on_fake = D(real, batch.labels), D(fake, batch.inputs["labels"])
        judge = partial(D, labels=batch.labels)
        return {
            **logistic_terms(on_real, on_fake, options.label_smoothing),
            **gradient_penalties(judge, real, fake, options.r1, 0.0, logits_real=on_real),
        }

    def generator_loss(networks: Networks, batch: Batch) -> Terms:
        logits = networks["discriminator"](batch.fake["images"], batch.inputs["labels"])
        return {"adversarial": precise_mean(F.softplus(-logits))}

    def tune(moment: Moment, *, lr: float) -> Mapping[str, Any]:
        steps = moment.images_seen / moment.batch
        risen = min(1.0, moment.images_seen / (1000 * options.momentum_kimg))
        momentum = options.beta1 + (options.final_momentum - options.beta1) * risen
        return {"lr": max(1e-6, lr * options.lr_decay**-steps), "momentum": momentum}

    rates = {"generator": options.lr, "discriminator": options.discriminator_lr or options.lr}
    game = alternating(
        generator=CganGenerator(options, data),
        discriminator=CganDiscriminator(options, data),
        discriminator_loss=discriminator_loss,
        generator_loss=generator_loss,
        draw=conditional_latents(uniform_latents(options.latent, 0.0, 1.0), data.classes),
        **options.turns(),
        output=generated(given=("labels",)),
    )
    if options.optimizer == "adam":
        return game
    return replace(game, phases=[replace(each, tune=partial(tune, lr=rates[each.name])) for each in game.phases])


variant = Variant(
    api=2,
    options=CganOptions,
    build=build,
    paper="Mirza & Osindero 2014, Conditional Generative Adversarial Nets, https://arxiv.org/abs/1411.1784",
    needs=(("images", "labels"),),
    small={"width": 24},
)
