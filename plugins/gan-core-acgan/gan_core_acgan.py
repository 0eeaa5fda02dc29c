"""AC-GAN: a generator that is told which class to draw, and a discriminator that also names the class it sees.

Both players want the class to be recognised; they differ on whether the image is real. Needs data with labels.
"""

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from gan_core import (
    Batch,
    DataSpec,
    Game,
    Inputs,
    LabelSmoothing,
    Networks,
    OptimizerOptions,
    PenaltyOptions,
    Phase,
    Terms,
    Variant,
    build_layers,
    gradient_penalties,
    initialise,
    logistic_terms,
)


class AcganOptions(PenaltyOptions, OptimizerOptions):
    """What can be set with `--set key=value`."""

    latent: int = Field(100, ge=1)
    """Size of the latent z ~ N(0, I)."""
    embedding: int = Field(50, ge=1)
    """Size of a label's embedding."""
    maps: int = Field(128, ge=1)
    """Feature maps that the latent becomes, at a quarter of the image's side."""
    width: int = Field(32, ge=1)
    """Feature maps of the discriminator's first layer, and half of those of the generator's middle."""
    dropout: float = Field(0.0, ge=0, lt=1)
    """Dropout in the discriminator."""
    label_smoothing: LabelSmoothing = 0.0
    class_weight: float = Field(1.0, ge=0)
    """Weight of the class terms, for both players."""
    fake_class_weight: float = Field(1.0, ge=0)
    """The discriminator's class term on generated images, as a factor of that on real ones. The paper has 1; with 0 the
    generator cannot teach the discriminator signs of a class that no real image has."""
    generator_fakes: int = Field(1, ge=1)
    """Fakes in the generator's batch for each real image in the discriminator's."""

    unsuitable: ClassVar = {"objective": "its source head judges images one by one, as in the paper (equation 2)"}


class ConditionalGenerator(nn.Module):
    """z (B, latent) and labels (B,) -> images (B, C, H, W) in [-1, 1].

    The latent becomes feature maps at a quarter of the image's side, and the label's embedding one more beside them.
    """

    def __init__(self, options: AcganOptions, data: DataSpec) -> None:
        super().__init__()
        side = data.image_size // 4
        self.maps = (options.maps, side, side)
        self.latent, _ = build_layers(
            [{"dense": options.maps * side**2}, "relu", {"reshape": self.maps}],
            (options.latent,),
            options.initialisation,
        )
        self.label = nn.Embedding(data.classes, options.embedding)
        initialise(self.label, options.initialisation)
        self.label_map, _ = build_layers(
            [{"dense": side**2}, {"reshape": (1, side, side)}], (options.embedding,), options.initialisation
        )
        stack = options.generator or default_generator(options, data)
        self.layers, image = build_layers(stack, (options.maps + 1, side, side), options.initialisation)
        if image != (data.channels, data.image_size, data.image_size):
            raise ValueError(f"the generator's layers give the shape {image}, which the images do not have")

    def forward(self, z: Tensor, labels: Tensor) -> Tensor:
        """Draws one image of each label."""
        maps = torch.cat([self.latent(z), self.label_map(self.label(labels))], dim=1)
        images: Tensor = self.layers(maps)
        return images


class TwoHeadedDiscriminator(nn.Module):
    """Images (B, C, H, W) -> source logits (B,), positive for real, and class logits (B, classes)."""

    def __init__(self, options: AcganOptions, data: DataSpec) -> None:
        super().__init__()
        stack = options.discriminator or default_discriminator(options)
        shape = (data.channels, data.image_size, data.image_size)
        self.trunk, features = build_layers(stack, shape, options.initialisation)
        self.source, _ = build_layers(["flatten", {"dense": 1}], features, options.initialisation)
        self.category, _ = build_layers(["flatten", {"dense": data.classes}], features, options.initialisation)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Judges each image."""
        features = self.trunk(images)
        return self.source(features).squeeze(1), self.category(features)


def default_generator(options: AcganOptions, data: DataSpec) -> Sequence[Any]:
    """Two transposed convolutions from a quarter of the image's side to the whole."""
    middle = {"conv_transpose": {"channels": 2 * options.width, "kernel": 4, "stride": 2, "bias": False}}
    last = {"conv_transpose": {"channels": data.channels, "kernel": 4, "stride": 2}}
    return ["batch_norm", middle, "batch_norm", "relu", last, "tanh"]


def default_discriminator(options: AcganOptions) -> Sequence[Any]:
    """Strided convolutions."""
    stack: list[Any] = []
    for channels, stride in ((options.width, 2), (2 * options.width, 2), (4 * options.width, 1)):
        stack.append({"conv": {"channels": channels, "kernel": 3, "stride": stride}})
        stack += ["batch_norm"] if options.discriminator_norm == "batch" else []
        stack += [{"leaky_relu": 0.2}, *([{"dropout": options.dropout}] if options.dropout else [])]
    return stack


def build(options: AcganOptions, data: DataSpec) -> Game:
    """Makes the game for square images of 8, 12, 16, ... pixels a side.

    The losses are those of Odena et al. 2017, equations 2 (the log-likelihood of the source, L_S) and 3 (of the class,
    L_C): the discriminator maximises L_S + L_C, the generator L_C - L_S, in its non-saturating form.
    """
    if data.image_size % 4 or data.image_size < 8:
        raise ValueError(
            f"image size {data.image_size} does not fit AC-GAN: it must be a multiple of 4, and at least 8. "
            f"Try --image-size {max(8, round(data.image_size / 4) * 4)}"
        )

    fake_class_weight = options.class_weight * options.fake_class_weight

    def draw(random: np.random.Generator, count: int, labels: Tensor | None) -> Inputs:
        z = torch.from_numpy(random.standard_normal((count, options.latent), dtype=np.float32))
        drawn = torch.from_numpy(random.integers(data.classes, size=count))
        return {"z": z, "labels": drawn if labels is None else labels}

    def discriminate(networks: Networks, batch: Batch) -> Terms:
        assert batch.labels is not None
        fake, D = networks["generator"](**batch.inputs), networks["discriminator"]
        source_real, class_real = D(batch.images)
        source_fake, class_fake = D(fake)
        return {
            **gradient_penalties(lambda images: D(images)[0], batch.images, fake, options.r1, options.r2),
            **logistic_terms(source_real, source_fake, options.label_smoothing),
            "class of real": options.class_weight * F.cross_entropy(class_real, batch.labels),
            "class of fake": fake_class_weight * F.cross_entropy(class_fake, batch.inputs["labels"]),
        }

    def deceive(networks: Networks, batch: Batch) -> Terms:
        source, category = networks["discriminator"](networks["generator"](**batch.inputs))
        return {
            "adversarial": F.softplus(-source).mean(),
            "class": options.class_weight * F.cross_entropy(category, batch.inputs["labels"]),
        }

    generator_optimizer, discriminator_optimizer = options.make_optimizers()
    return Game(
        networks={
            "generator": ConditionalGenerator(options, data),
            "discriminator": options.normalise(TwoHeadedDiscriminator(options, data)),
        },
        phases=[
            Phase(
                name="discriminator",
                trains=("discriminator",),
                loss=discriminate,
                optimizer=discriminator_optimizer,
            ),
            Phase(
                name="generator",
                trains=("generator",),
                loss=deceive,
                optimizer=generator_optimizer,
                fakes=options.generator_fakes,
            ),
        ],
        draw=draw,
        generate=lambda networks, inputs: networks["generator"](**inputs),
        classes=data.classes,
    )


variant = Variant(
    api=1,
    options=AcganOptions,
    build=build,
    paper="Odena et al. 2017, Conditional Image Synthesis with Auxiliary Classifier GANs, https://arxiv.org/abs/1610.09585",
    needs_labels=True,
)
