"""The standard two-player game of a generator and a discriminator."""

from collections.abc import Callable, Mapping

import numpy as np
import torch
from torch import Tensor, nn

from gan_core.blocks.protocols import Loss
from gan_core.game.batch import Batch, Inputs
from gan_core.game.game import Game
from gan_core.game.output import Draw, Output, Request
from gan_core.game.phase import MakeOptimizer, Networks, Phase, Terms
from gan_core.game.variant import Options


def normal_latents(size: int, std: float = 1.0) -> Draw:
    """Returns a `draw` of latents z ~ N(0, std² I), float32 of shape (B, size), for an unconditional game."""

    def draw(random: np.random.Generator, request: Request) -> Inputs:
        drawn = random.standard_normal((request.count, size), dtype=np.float32)
        return {"z": torch.from_numpy(drawn * np.float32(std))}

    return draw


def generated(
    network: str = "generator", *, given: tuple[str, ...] = (), like: str = "images", clamp: bool = False
) -> Output:
    """Returns the output of a network that is called with the inputs by name.

    Args:
        network: The network's name.
        given: See `Output`.
        like: See `Output`.
        clamp: Whether to cut images to [-1, 1], for a network whose pixels have no limits in training.
    """

    def generate(networks: Networks, inputs: Inputs, options: Options) -> Tensor:
        del options
        images: Tensor = networks[network](**inputs)
        return images.clamp(-1, 1) if clamp else images

    return Output(generate=generate, given=given, like=like)


def generated_images(networks: Networks, batch: Batch) -> dict[str, Tensor]:
    """For `Phase.make_fake`: the images of the network "generator", which is called with the batch's inputs by name."""
    return {"images": networks["generator"](**batch.inputs)}


PhaseLoss = Callable[[Networks, Batch], Terms]
"""A phase's loss, which has the batch's fakes as `batch.fake["images"]`."""


def alternating(
    *,
    generator: nn.Module,
    discriminator: nn.Module,
    discriminator_loss: PhaseLoss,
    generator_loss: PhaseLoss,
    draw: Draw,
    generator_optimizer: MakeOptimizer,
    discriminator_optimizer: MakeOptimizer,
    discriminator_steps: int = 1,
    generator_fakes: int = 1,
    fresh_latents: bool = False,
    make_fake: Callable[[Networks, Batch], Mapping[str, Tensor]] = generated_images,
    output: Output | None = None,
) -> Game:
    """Returns the game of `two_player` with the losses of its two phases, for networks that are called otherwise.

    Args:
        generator: Called with the inputs that `draw` returns, by name; returns images (B, C, H, W) in [-1, 1].
        discriminator: Only the losses call it.
        discriminator_loss: The loss of the phase "discriminator", which is updated first.
        generator_loss: The loss of the phase "generator".
        draw: See `two_player`, as for all other arguments.
        generator_optimizer: Makes the generator's optimizer.
        discriminator_optimizer: Makes the discriminator's optimizer.
        discriminator_steps: Updates of the discriminator per training step.
        generator_fakes: Number of fakes in the generator's batch per real image.
        fresh_latents: Whether the generator is updated on latents of its own.
        make_fake: Makes the fakes "images" of both phases, for a generator that is called otherwise.
        output: What the game draws; by default `generated()`. With labels, `generated(given=("labels",))`.

    Raises:
        ValueError: `discriminator_steps` or `generator_fakes` is below 1.
    """
    fresh = fresh_latents or discriminator_steps > 1 or generator_fakes > 1
    return Game(
        networks={"generator": generator, "discriminator": discriminator},
        phases=[
            Phase(
                name="discriminator",
                trains=("discriminator",),
                loss=discriminator_loss,
                optimizer=discriminator_optimizer,
                repeats=discriminator_steps,
                make_fake=make_fake,
            ),
            Phase(
                name="generator",
                trains=("generator",),
                loss=generator_loss,
                optimizer=generator_optimizer,
                fakes=generator_fakes,
                make_fake=make_fake if fresh else None,
                on=None if fresh else "discriminator",
            ),
        ],
        draw=draw,
        outputs={"images": output or generated()},
    )


def two_player(
    *,
    generator: nn.Module,
    discriminator: nn.Module,
    loss: Loss,
    draw: Draw,
    generator_optimizer: MakeOptimizer,
    discriminator_optimizer: MakeOptimizer,
    discriminator_steps: int = 1,
    generator_fakes: int = 1,
    fresh_latents: bool = False,
) -> Game:
    """Returns the game of Goodfellow et al. 2014, algorithm 1: alternating updates of discriminator and generator.

    By default both are updated on the same fakes, as most programs do (PyTorch's and TensorFlow's DCGAN tutorials):
    the generator runs forward once a step.

    Args:
        generator: Called with the inputs that `draw` returns, by name; returns images (B, C, H, W) in [-1, 1].
        discriminator: Called with images (B, C, H, W) in [-1, 1]; only `loss` uses its output.
        loss: The terms of both networks.
        draw: Samples the generator's inputs, e.g. `normal_latents(128)`.
        generator_optimizer: Makes the generator's optimizer, e.g. `adam(2e-4)`.
        discriminator_optimizer: Makes the discriminator's optimizer.
        discriminator_steps: k of algorithm 1: updates of the discriminator per training step, each on a new batch.
        generator_fakes: Number of fakes in the generator's batch per real image.
        fresh_latents: Whether the generator is updated on latents of its own, as in algorithm 1. It always is with
            several discriminator steps or generator fakes.

    Raises:
        ValueError: `discriminator_steps` or `generator_fakes` is below 1.
    """

    def discriminator_loss(networks: Networks, batch: Batch) -> Terms:
        return loss.discriminator(networks["discriminator"], batch.images, batch.fake["images"])

    def generator_loss(networks: Networks, batch: Batch) -> Terms:
        return loss.generator(networks["discriminator"], batch.images, batch.fake["images"])

    return alternating(
        generator=generator,
        discriminator=discriminator,
        discriminator_loss=discriminator_loss,
        generator_loss=generator_loss,
        draw=draw,
        generator_optimizer=generator_optimizer,
        discriminator_optimizer=discriminator_optimizer,
        discriminator_steps=discriminator_steps,
        generator_fakes=generator_fakes,
        fresh_latents=fresh_latents,
    )
