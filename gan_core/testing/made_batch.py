"""A batch made by a test, and the terms of a loss for it, to compare with a computation by hand."""

from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import Tensor

from gan_core.distributed.collectives import Collectives
from gan_core.game.batch import Batch, Inputs, Moment, Randomness
from gan_core.game.game import Game
from gan_core.game.phase import Networks, Terms
from gan_core.precision import tf32_restored
from gan_core.randomness import Share, Streams
from gan_core.row_randomness import Draws, UpdateRandomness


def made_batch(
    real: Mapping[str, Tensor],
    inputs: Inputs,
    *,
    random: Randomness | None = None,
    images_seen: int = 0,
) -> Batch:
    """Returns a batch of one process.

    Args:
        real: Real rows by field: images (B, C, H, W) in [-1, 1], labels (B,) int64.
        inputs: The generator's inputs.
        random: Random numbers of the loss; None draws them as a run of seed 0 does.
        images_seen: Where the run stands, of 1,000 images.
    """
    rows = next(iter(real.values()))
    draws = Draws(Streams(0), "loss", 0, slice(0, len(rows)))
    drawn = UpdateRandomness(draws, torch.device("cpu"), torch.float32)
    return Batch(
        real=real,
        inputs=inputs,
        random=random or drawn,
        moment=Moment(images_seen=images_seen, progress=images_seen / 1000, batch=len(rows)),
        processes=Collectives(Share(0, 1)),
    )


@tf32_restored()
def terms_of(game: Game, phase: str, batch: Batch, networks: Networks | None = None) -> Terms:
    """Returns the terms of a phase's loss for a batch, with the fakes that are made of the batch in training.

    Args:
        game: The game.
        phase: The name of the phase.
        batch: The batch, without fakes.
        networks: Networks in place of the game's.
    """
    phases, networks = {each.name: each for each in game.phases}, networks or game.networks
    played = phases[phase]
    make_fake = phases[played.on or phase].make_fake
    if make_fake is not None:
        batch = replace(batch, fake=make_fake(networks, batch))
    return played.loss(networks, batch)
