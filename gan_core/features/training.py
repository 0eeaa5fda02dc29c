"""Training of the small classifier; it gives the same weights every time on one machine."""

from collections.abc import Iterator
from math import ceil
from typing import Protocol

import torch
import torch.nn.functional as F
from rich.console import Console
from torch import Tensor

from gan_core.data.row_order import RowOrder
from gan_core.features.network import SmallCnn, jitter
from gan_core.features.real_data import RealBatch
from gan_core.progress import progress
from gan_core.randomness import Streams

_LR, _BATCHES = 4e-3, (64, 256)
_EPOCHS, _IMAGES = 5, 80_000
_EVALUATION_BATCH = 64
RECIPE = f"AdamW, one cycle to {_LR}, batches of {_BATCHES}, {_EPOCHS} epochs or {_IMAGES} images, most jittered"
"""Everything that determines the weights besides the data, network and seed. It is part of the cache key."""


class LabelledImages(Protocol):
    """Images with labels, on which a classifier can be trained."""

    @property
    def labels(self) -> Tensor | None:
        """The classes of all images, (N,) int64."""

    def batches(self, indices: list[list[int]]) -> Iterator[RealBatch]:
        """Yields the images at each list of indices, on the device."""


def train_classifier(
    network: SmallCnn, images: LabelledImages, seed: int, device: torch.device, what: str, console: Console
) -> None:
    """Trains the network in place on labelled images and leaves it in eval mode.

    AdamW (Loshchilov & Hutter 2019) with a one-cycle schedule (Smith & Topin 2019).
    """
    assert images.labels is not None
    count = len(images.labels)
    streams, batch = Streams(seed), _batch_size(count)
    steps = ceil(max(_EPOCHS * count, _IMAGES) / batch)
    order = RowOrder(streams, "images", count)
    indices = [order[slice(step * batch, (step + 1) * batch)].tolist() for step in range(steps)]
    network.to(device).train()
    optimizer = torch.optim.AdamW(network.parameters(), lr=_LR)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, _LR, total_steps=steps)
    # Left out, `allow_tf32` would be True.
    with torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True, allow_tf32=False):
        for step, (real, labels) in enumerate(progress(images.batches(indices), steps, what, console)):
            assert labels is not None
            _, logits = network(jitter(real, streams.at("classifier's jitter", step)))
            optimizer.zero_grad()
            F.cross_entropy(logits, labels).backward()
            optimizer.step()
            schedule.step()
    network.eval()


def _batch_size(count: int) -> int:
    """Returns a smaller batch size for small data, where a few epochs of large batches would be too few steps."""
    small, large = _BATCHES
    return min(count, max(small, min(large, count // 128)))


@torch.no_grad()
def accuracy(network: SmallCnn, images: LabelledImages) -> float:
    """Returns the share of images that the network classifies correctly: 0 to 1."""
    assert images.labels is not None
    indices = [part.tolist() for part in torch.arange(len(images.labels)).split(_EVALUATION_BATCH)]
    correct = [(network(real)[1].argmax(1) == labels) for real, labels in images.batches(indices)]
    return float(torch.cat(correct).cpu().double().mean())
