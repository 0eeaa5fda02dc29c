"""AC-GAN: a class-conditional generator, and a discriminator that also classifies its input.

Both networks minimise the classification loss; they are adversaries only in the real/fake loss. Needs labelled data.
"""

from collections.abc import Sequence
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from gan_core import (
    AugmentOptions,
    Batch,
    DataSpec,
    Game,
    LabelSmoothing,
    Networks,
    PenaltyOptions,
    Terms,
    TwoPlayerOptions,
    Variant,
    alternating,
    build_layers,
    conditional_latents,
    differentiable,
    generated,
    gradient_penalties,
    initialise,
    logistic_terms,
    normal_latents,
    precise_mean,
)


class AcganOptions(AugmentOptions, PenaltyOptions, TwoPlayerOptions):
    """Options of AC-GAN."""

    latent: int = Field(100, ge=1)
    """Size of the latent z ~ N(0, I)."""
    embedding: int = Field(50, ge=1)
    """Size of the label embedding."""
    maps: int = Field(128, ge=1)
    """Feature maps that the generator computes from the latent, at a quarter of the image's side."""
    width: int = Field(32, ge=1)
    """Feature maps of the discriminator's first layer; the generator's middle layer has twice as many."""
    dropout: float = Field(0.0, ge=0, lt=1)
    """Dropout probability in the discriminator."""
    label_smoothing: LabelSmoothing = 0.0
    class_weight: float = Field(1.0, ge=0)
    """Weight of the classification losses of both networks."""
    fake_class_weight: float = Field(1.0, ge=0)
    """Weight of the discriminator's classification loss on fakes, relative to that on real images. The paper has 1;
    with 0 the classifier trains on real images only, and learns no class features that real images lack."""
    generator_fakes: int = Field(1, ge=1)
    """Fakes in the generator's batch per real image in the discriminator's batch."""

    unsuitable: ClassVar = {"objective": "its source head scores each image on its own, as in the paper (equation 2)"}


class ConditionalGenerator(nn.Module):
    """z (B, latent) and labels (B,) -> images (B, C, H, W) in [-1, 1].

    Dense layers map the latent to `maps` feature maps at a quarter of the image's side, and the label's embedding to
    one more, which is concatenated to them.
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
        layers = options.generator or default_generator(options, data)
        self.layers, shape = build_layers(layers, (options.maps + 1, side, side), options.initialisation)
        image = (data.channels, data.image_size, data.image_size)
        if shape != image:
            raise ValueError(f"the generator's layers return the shape {shape}, but the images have {image}")

    def forward(self, z: Tensor, labels: Tensor) -> Tensor:
        """Returns one image for each latent and label."""
        maps = torch.cat([self.latent(z), self.label_map(self.label(labels))], dim=1)
        images: Tensor = self.layers(maps)
        return images


class TwoHeadedDiscriminator(nn.Module):
    """Images (B, C, H, W) -> source logits (B,), positive for real, and class logits (B, classes)."""

    def __init__(self, options: AcganOptions, data: DataSpec) -> None:
        super().__init__()
        layers = options.discriminator or default_discriminator(options)
        shape = (data.channels, data.image_size, data.image_size)
        self.trunk, features = build_layers(layers, shape, options.initialisation)
        self.source, _ = build_layers(["flatten", {"dense": 1}], features, options.initialisation)
        self.category, _ = build_layers(["flatten", {"dense": data.classes}], features, options.initialisation)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Returns the source logits and the class logits."""
        features = self.trunk(images)
        return self.source(features).squeeze(1), self.category(features)


def default_generator(options: AcganOptions, data: DataSpec) -> Sequence[Any]:
    """Returns a layer list of two resize-convolutions, from a quarter of the image's side to the full side.

    Transposed convolutions with stride 2 draw a pattern of dots on flat areas (Odena et al. 2016).
    """
    middle = {"conv": {"channels": 2 * options.width, "kernel": 3, "bias": False}}
    last = {"conv": {"channels": data.channels, "kernel": 3}}
    return ["batch_norm", "upsample", middle, "batch_norm", "relu", "upsample", last, "tanh"]


def default_discriminator(options: AcganOptions) -> Sequence[Any]:
    """Returns a layer list of three convolutions, the first two with stride 2."""
    layers: list[Any] = []
    for channels, stride in ((options.width, 2), (2 * options.width, 2), (4 * options.width, 1)):
        layers.append({"conv": {"channels": channels, "kernel": 3, "stride": stride}})
        layers += ["batch_norm"] if options.discriminator_norm == "batch" else []
        layers += [{"leaky_relu": 0.2}, *([{"dropout": options.dropout}] if options.dropout else [])]
    return layers


def build(options: AcganOptions, data: DataSpec) -> Game:
    """Returns the game, for images whose side is a multiple of 4 and at least 8 pixels.

    The losses are those of Odena et al. 2017, equations 2 (the log-likelihood of the source, L_S) and 3 (of the class,
    L_C): the discriminator maximises L_S + L_C, the generator L_C - L_S, in its non-saturating form.

    Raises:
        ValueError: The image size is not supported, or a layer of a layer list does not fit.
    """
    if data.image_size % 4 or data.image_size < 8:
        raise ValueError(
            f"image size {data.image_size} does not fit AC-GAN: it must be a multiple of 4, and at least 8. "
            f"Try --image-size {max(8, round(data.image_size / 4) * 4)}"
        )

    fake_class_weight = options.class_weight * options.fake_class_weight

    def discriminator_loss(networks: Networks, batch: Batch) -> Terms:
        assert batch.labels is not None
        D = networks["discriminator"]
        real, fake = differentiable(batch.images, options.r1), differentiable(batch.fake["images"], options.r2)
        source_real, class_real = D(real)
        source_fake, class_fake = D(fake)
        known = {"logits_real": source_real, "logits_fake": source_fake}
        return {
            **gradient_penalties(lambda images: D(images)[0], real, fake, options.r1, options.r2, **known),
            **logistic_terms(source_real, source_fake, options.label_smoothing),
            "class of real": options.class_weight * F.cross_entropy(class_real, batch.labels),
            "class of fake": fake_class_weight * F.cross_entropy(class_fake, batch.inputs["labels"]),
        }

    def generator_loss(networks: Networks, batch: Batch) -> Terms:
        source, category = networks["discriminator"](batch.fake["images"])
        return {
            "adversarial": precise_mean(F.softplus(-source)),
            "class": options.class_weight * F.cross_entropy(category, batch.inputs["labels"]),
        }

    game = alternating(
        generator=ConditionalGenerator(options, data),
        discriminator=options.normalise(TwoHeadedDiscriminator(options, data)),
        discriminator_loss=discriminator_loss,
        generator_loss=generator_loss,
        draw=conditional_latents(normal_latents(options.latent), data.classes),
        generator_fakes=options.generator_fakes,
        **options.turns(),
        output=generated(given=("labels",)),
    )
    return options.augmented(game, data)


variant = Variant(
    api=2,
    options=AcganOptions,
    build=build,
    paper="Odena et al. 2017, Conditional Image Synthesis with Auxiliary Classifier GANs, https://arxiv.org/abs/1610.09585",
    needs=(("images", "labels"),),
    small={"width": 8, "maps": 8},
)
