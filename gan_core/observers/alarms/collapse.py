"""Alarms when the generator draws only a few different images, or no longer one of the classes."""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d

from gan_core.observers.alarms.watch import Watch
from gan_core.observers.listener import Alarm
from gan_core.sampling.sampler import Sampler

_LIKE = 0.1
"""Two images are alike below this fraction of the usual (median) distance between two real images."""
_FEW = 1 / 8
"""Few different images: this share of a grid, and also of the share of as many real images."""
_FROM, _EARLY = 20_000, 0.1
"""Images seen, and fraction of the run, before which all samples may look alike: the generator has hardly learned."""
_LATE = 0.5
"""Fraction of the run from which a class that was never there counts as gone; before, it may still come."""
_SIDE = 16
"""Images are compared at this many pixels a side, so that noise in single pixels does not count."""
_GRIDS, _EVALUATIONS = 2, 2
"""How many grids, and how many evaluations, in a row must show it."""
_SHARE = 0.1
"""A class is gone below this fraction of its share of real images, as in the metric `modes`."""
_THERE = 0.5
"""A class was there from this fraction of its share of real images on."""

_REMEDIES = (
    "a lower learning rate, or a larger batch",
    "another loss or penalty, such as WGAN-GP, or R1 with relativistic pairing",
)


class GridSampler(Sampler):
    """A sampler that keeps the images that it has shown last, for those who look at a grid's samples."""

    last: Tensor | None = None
    """Images (N, C, H, W) uint8 on the CPU, or None before the first grid."""

    def shown(self, *given: Any, **named: Any) -> dict[str, Tensor]:
        """Returns the images as `Sampler.shown`, and keeps those of its output."""
        images = super().shown(*given, **named)
        self.last = images.get(self.name)
        return images


def distances(images: Tensor) -> Tensor:
    """Returns the distances between images (N, C, H, W) uint8, at most 16 pixels a side: (N, N), in grey levels."""
    small = images.float()
    if max(small.shape[2:]) > _SIDE:
        small = adaptive_avg_pool2d(small, _SIDE)
    flat = small.flatten(1)
    between: Tensor = torch.cdist(flat, flat) / flat.shape[1] ** 0.5
    return between


def different(distances: Tensor, threshold: float) -> int:
    """Returns how many images differ from all counted before by more than `threshold`, given distances (N, N)."""
    kept: list[int] = []
    for number, row in enumerate(distances):
        if not kept or float(row[kept].min()) > threshold:
            kept.append(number)
    return len(kept)


class Collapse(Watch):
    """Finds few different samples on the fixed grid, and classes that evaluations no longer find."""

    def __init__(
        self, samples: Callable[[], Tensor | None], real: Tensor, length: int, class_names: tuple[str, ...] = ()
    ) -> None:
        """Stores what samples are compared with.

        Args:
            samples: Returns the samples of the last grid: (N, C, H, W) uint8 on the CPU.
            real: Real images (M, C, H, W) uint8 on the CPU, M at least 2.
            length: The run's length in images.
            class_names: The names of the classes.
        """
        self.samples, self.length, self.names = samples, length, class_names
        between = distances(real)
        upper = torch.triu_indices(len(real), len(real), offset=1)
        self._threshold = _LIKE * float(between[upper[0], upper[1]].median())
        self._real = different(between, self._threshold) / len(real)
        self._few: list[int] = []
        self._there: set[int] = set()
        self._gone: dict[int, list[int]] = {}

    def sample(self, images_seen: int) -> Alarm | None:
        """Counts the different samples of the grid."""
        images = self.samples()
        if images is None or images_seen < max(_FROM, _EARLY * self.length) or len(images) < 2:
            return None
        found = different(distances(images), self._threshold)
        if found > _FEW * len(images) * self._real:
            self._few = []
            return None
        self._few.append(images_seen)
        if len(self._few) != _GRIDS:
            return None
        return Alarm(
            kind="collapse",
            since=self._few[0],
            at=images_seen,
            seen=f"only {found} of {len(images)} samples on the fixed grid differ from each other",
            remedies=_REMEDIES,
        )

    def evaluated(self, images_seen: int, evaluation: Mapping[str, Any]) -> Alarm | None:
        """Looks for classes of which hardly any sample was drawn, unless the classifier is unreliable."""
        histogram = evaluation["metrics"].get("histogram", {})
        if "floor" not in histogram or histogram.get("unreliable"):
            return None
        gone = []
        for number, (share, real) in enumerate(zip(histogram["value"], histogram["floor"]["value"], strict=True)):
            if share >= _THERE * real:
                self._there.add(number)
            expected = number in self._there or images_seen >= _LATE * self.length
            # A class that is rare among real images may be missing by chance.
            if share >= _SHARE * real or not expected or real * histogram["samples"] < 10:
                self._gone.pop(number, None)
                continue
            since = self._gone.setdefault(number, [])
            since.append(images_seen)
            if len(since) == _EVALUATIONS:
                gone.append(number)
        if not gone:
            return None
        names = self.names or tuple(map(str, range(len(histogram["value"]))))
        shares = ", ".join(f"{names[at]} ({histogram['value'][at]:.1%})" for at in gone[:10])
        return Alarm(
            kind="collapse",
            since=min(self._gone[at][0] for at in gone),
            at=images_seen,
            seen=f"hardly any of {histogram['samples']:,} evaluated samples are of the class {shares}",
            remedies=_REMEDIES,
        )
