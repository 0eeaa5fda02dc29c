"""Images to features: each process embeds its share, and all have the whole.

The images go in blocks of 64 from first to last, so no block depends on how many processes there are.
"""

import hashlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from math import ceil

import torch
from accelerate import Accelerator
from rich.console import Console
from torch import Tensor

from gan_core.evaluation.frechet import Moments
from gan_core.features.space import FeatureSpace
from gan_core.progress import progress
from gan_core.sampling.sampler import BLOCK


@dataclass(frozen=True, kw_only=True, slots=True)
class Embedded:
    """N images as metrics see them.

    Attributes:
        digests: A hash of each image's pixels, (N,) int64.
        features: (N, d), or None where there is no feature space. On the GPU where that is CUDA's, else on the CPU, for
            metrics are computed in float64.
        predicted: The most probable class of each, (N,) int64 on the CPU, or None where the space knows no classes.
        confidence: The probability of that class, (N,) on the CPU, or None.
    """

    digests: Tensor
    features: Tensor | None
    predicted: Tensor | None
    confidence: Tensor | None

    def first(self, count: int) -> "Embedded":
        """Returns the first so many of them."""
        return Embedded(
            digests=self.digests[:count],
            features=None if self.features is None else self.features[:count],
            predicted=None if self.predicted is None else self.predicted[:count],
            confidence=None if self.confidence is None else self.confidence[:count],
        )


Blocks = Callable[[range], Iterable[Tensor]]
"""Makes the blocks of images, (64, C, H, W) uint8 each, of these numbers."""


def embed(
    blocks: Blocks,
    count: int,
    space: FeatureSpace | None,
    accelerator: Accelerator,
    *,
    what: str,
    console: Console,
    moments: Moments | None = None,
    within: int = 0,
) -> Embedded:
    """Embeds images 0 to count - 1. Every process must call it.

    Args:
        blocks: The images. The last processes may ask for blocks beyond the count.
        count: How many images there are.
        space: What embeds them.
        accelerator: This run's processes.
        what: The work's name for people.
        console: Where progress is shown.
        moments: Takes the features of the first images, over all processes.
        within: How many images `moments` takes.
    """
    share = ceil(ceil(count / BLOCK) / accelerator.num_processes)
    mine = range(accelerator.process_index * share, (accelerator.process_index + 1) * share)
    parts: list[tuple[Tensor, ...]] = []
    for number, images in zip(mine, progress(blocks(mine), share, what, console), strict=True):
        part = [_digests(images).to(accelerator.device)]
        if space is not None:
            embedding = space(images.to(accelerator.device))
            part.append(embedding.features)
            if embedding.probabilities is not None:
                confidence, predicted = embedding.probabilities.max(1)
                part += [predicted, confidence]
            if moments is not None and number * BLOCK < within:
                moments.add(embedding.features[: within - number * BLOCK])
        parts.append(tuple(part))
    if moments is not None and accelerator.num_processes > 1:
        moments.gram = accelerator.reduce(moments.gram.to(accelerator.device), "sum").cpu()
    whole: list[Tensor] = [accelerator.gather(torch.cat(column))[:count] for column in zip(*parts, strict=True)]
    return Embedded(
        digests=whole[0].cpu(),
        features=None if len(whole) == 1 else whole[1] if whole[1].is_cuda else whole[1].cpu(),
        predicted=whole[2].cpu() if len(whole) > 2 else None,
        confidence=whole[3].cpu() if len(whole) > 2 else None,
    )


def _digests(images: Tensor) -> Tensor:
    """Hashes each image's pixels: (N,) int64. Two images of ten thousand share one by chance once in 10¹¹ times."""
    hashes = [hashlib.blake2b(image.numpy().tobytes(), digest_size=8).digest() for image in images.cpu()]
    return torch.tensor([int.from_bytes(each, "little", signed=True) for each in hashes])
