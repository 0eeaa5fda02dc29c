"""A batch made by a test, to compute the terms of a loss by hand."""

from collections.abc import Mapping

import torch
from torch import Tensor

from gan_core.distributed.collectives import Collectives
from gan_core.game.batch import Batch, Inputs, Moment, Randomness
from gan_core.randomness import Share, Streams, UpdateRandomness


def made_batch(
    real: Mapping[str, Tensor], inputs: Inputs, *, random: Randomness | None = None, images_seen: int = 0
) -> Batch:
    """Returns a batch of one process.

    Args:
        real: Real rows by field: images (B, C, H, W) in [-1, 1], labels (B,) int64.
        inputs: The generator's inputs.
        random: Random numbers of the loss; None draws them as a run of seed 0 does.
        images_seen: Where the run stands, of 1,000 images.
    """
    rows = next(iter(real.values()))
    drawn = UpdateRandomness(
        Streams(0).at("loss", 0), len(rows), slice(0, len(rows)), torch.device("cpu"), torch.float32
    )
    return Batch(
        real=real,
        inputs=inputs,
        random=random or drawn,
        moment=Moment(images_seen=images_seen, progress=images_seen / 1000, batch=len(rows)),
        processes=Collectives(Share(0, 1)),
    )
