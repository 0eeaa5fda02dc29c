"""The standard game of two players, from a generator, a discriminator and a loss."""

import numpy as np
import torch
from torch import Tensor, nn

from gan_core.game.batch import Batch, Inputs
from gan_core.game.game import Draw, Game
from gan_core.game.phase import MakeOptimizer, Networks, Phase, Terms
from gan_core.game.protocols import Loss


def normal_latents(size: int, std: float = 1.0) -> Draw:
    """Returns a `draw` for latents z ~ N(0, std²), (B, size)."""

    def draw(random: np.random.Generator, count: int, labels: Tensor | None) -> Inputs:
        del labels  # An unconditional game has none to choose from.
        return {"z": torch.from_numpy(random.standard_normal((count, size), dtype=np.float32) * np.float32(std))}

    return draw


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
) -> Game:
    """Builds the alternating game of Goodfellow et al. 2014, algorithm 1.

    Args:
        generator: Called with what `draw` returns, by name.
        discriminator: Called with images (B, C, H, W) in [-1, 1].
        loss: Both players' terms.
        draw: The generator's inputs, such as `normal_latents(128)`.
        generator_optimizer: Made for the generator's parameters.
        discriminator_optimizer: Made for the discriminator's parameters.
        discriminator_steps: The k of algorithm 1: turns of the discriminator, each on fresh data, per round.
        generator_fakes: Fakes in the generator's turn for each real image in the discriminator's.
    """

    def discriminate(networks: Networks, batch: Batch) -> Terms:
        fake = networks["generator"](**batch.inputs)
        return loss.discriminator(networks["discriminator"], batch.images, fake)

    def deceive(networks: Networks, batch: Batch) -> Terms:
        fake = networks["generator"](**batch.inputs)
        return loss.generator(networks["discriminator"], batch.images, fake)

    return Game(
        networks={"generator": generator, "discriminator": discriminator},
        phases=[
            Phase(
                name="discriminator",
                trains=("discriminator",),
                loss=discriminate,
                optimizer=discriminator_optimizer,
                repeats=discriminator_steps,
            ),
            Phase(
                name="generator",
                trains=("generator",),
                loss=deceive,
                optimizer=generator_optimizer,
                fakes=generator_fakes,
            ),
        ],
        draw=draw,
        generate=lambda networks, inputs: networks["generator"](**inputs),
    )
