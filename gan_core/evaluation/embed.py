"""Embedding of images: each process embeds its share, and the main process gathers all of them.

Images are embedded in consecutive blocks of 64, so a block does not depend on the number of processes.
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
from gan_core.evaluation.targets import differences
from gan_core.features.space import FeatureSpace
from gan_core.precision import without_tf32
from gan_core.progress import progress
from gan_core.sampling.given import BLOCK


@dataclass(frozen=True, kw_only=True, slots=True)
class Embedded:
    """The embedding of N images: everything that metrics need. Only the main process has it: N is 0 on the others.

    Attributes:
        digests: A hash of each image's pixels, (N,) int64.
        features: (N, d), or None without a feature space. On the GPU if that is a CUDA device, otherwise on the CPU,
            because metrics are computed in float64.
        predicted: The most probable class of each image, (N,) int64 on the CPU, or None if the space has no classes.
        confidence: The probability of that class, (N,) on the CPU, or None.
        differences: The `differences` of each image to its target, (N, 2) int64 on the CPU, or None without targets.
    """

    digests: Tensor
    features: Tensor | None
    predicted: Tensor | None
    confidence: Tensor | None
    differences: Tensor | None = None

    def first(self, count: int) -> "Embedded":
        """Returns the embedding of the first `count` images."""
        return Embedded(
            digests=self.digests[:count],
            features=None if self.features is None else self.features[:count],
            predicted=None if self.predicted is None else self.predicted[:count],
            confidence=None if self.confidence is None else self.confidence[:count],
            differences=None if self.differences is None else self.differences[:count],
        )


Blocks = Callable[[range], Iterable[Tensor]]
"""Yields the blocks with these numbers, each (64, C, H, W) uint8."""


def embed(
    blocks: Blocks,
    count: int,
    space: FeatureSpace | None,
    accelerator: Accelerator,
    *,
    what: str,
    console: Console,
    moments: Moments | None = None,
    moments_count: int = 0,
    targets: Callable[[int], Tensor | None] | None = None,
) -> Embedded:
    """Embeds images 0 to count - 1. Every process must call it.

    Args:
        blocks: Yields the images. The last processes may request blocks beyond `count`.
        count: The number of images.
        space: The feature space, or None to compute only digests.
        accelerator: This run's processes.
        what: The label of the progress display.
        console: Shows progress.
        moments: Accumulates the features of the first `moments_count` images, over all processes.
        moments_count: The number of images that `moments` accumulates.
        targets: Returns the targets of a block, (64, C, H, W) uint8 on the CPU, as the images then are; or None.
    """
    share = ceil(ceil(count / BLOCK) / accelerator.num_processes)
    block_numbers = range(accelerator.process_index * share, (accelerator.process_index + 1) * share)
    parts: list[dict[str, Tensor]] = []
    for number, images in zip(block_numbers, progress(blocks(block_numbers), share, what, console), strict=True):
        part = {"digests": _digests(images).to(accelerator.device)}
        if space is not None:
            with without_tf32():
                embedding = space(images.to(accelerator.device))
            part["features"] = embedding.features
            if embedding.probabilities is not None:
                part["confidence"], part["predicted"] = embedding.probabilities.max(1)
            if moments is not None and number * BLOCK < moments_count:
                moments.add(embedding.features[: moments_count - number * BLOCK])
        target = None if targets is None else targets(number)
        if target is not None:
            part["differences"] = differences(images, target).to(accelerator.device)
        parts.append(part)
    if moments is not None and accelerator.num_processes > 1:
        moments.gram = accelerator.reduce(moments.gram.to(accelerator.device), "sum").cpu()
    found = {name: _gather(torch.cat([part[name] for part in parts]), accelerator)[:count] for name in parts[0]}
    features = found.pop("features", None)
    return Embedded(
        features=features if features is None or features.is_cuda else features.cpu(),
        **{name: found[name].cpu() if name in found else None for name in ("predicted", "confidence", "differences")},
        digests=found["digests"].cpu(),
    )


def _gather(share: Tensor, accelerator: Accelerator) -> Tensor:
    """Returns all processes' rows on the main process, and none on the others, for which they would be too large."""
    if accelerator.num_processes == 1:
        return share
    whole = share.new_empty(
        len(share) * accelerator.num_processes if accelerator.is_main_process else 0, *share.shape[1:]
    )
    torch.distributed.gather(share, list(whole.split(len(share))) if accelerator.is_main_process else None)
    return whole


def _digests(images: Tensor) -> Tensor:
    """Hashes each image's pixels: (N,) int64. For 10,000 images the probability of a collision is below 10⁻¹¹."""
    hashes = [hashlib.blake2b(image.numpy().tobytes(), digest_size=8).digest() for image in images.cpu()]
    return torch.tensor([int.from_bytes(each, "little", signed=True) for each in hashes])
