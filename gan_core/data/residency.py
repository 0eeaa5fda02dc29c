"""Whether images stay in memory or are decoded each time they are shown. Nothing here imports torch."""

from dataclasses import dataclass
from typing import Literal

from gan_core.cores import local_processes, usable_cores

RESIDENT_BYTES = 2 << 30
"""Up to this size, images stay in the memory of each process, on its device."""

_MOST_WORKERS = 8
"""Worker processes that are started unless told; more have been of no use for small images."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Residency:
    """Where the images of a data set are kept while training.

    Attributes:
        resident: Whether all of them stay in memory.
        size: Their bytes as uint8.
        asked: What the setting says.
        workers: How many processes decode streamed images, for each process that trains.
    """

    resident: bool
    size: int
    asked: Literal["auto", "yes", "no"]
    workers: int

    def __str__(self) -> str:
        """Says which and why: "streamed by 2 worker processes, 5.6 GiB of pixels (auto: more than 2 GiB)"."""
        who = f"{self.workers} worker process{'' if self.workers == 1 else 'es'}" if self.workers else "this process"
        which = "resident" if self.resident else f"streamed by {who}"
        limit = f"{'at most' if self.size <= RESIDENT_BYTES else 'more than'} {_bytes(RESIDENT_BYTES)}"
        why = f"auto: {limit}" if self.asked == "auto" else f"as resident {self.asked} says"
        return f"{which}, {_bytes(self.size)} of pixels ({why})"


def choose_residency(asked: Literal["auto", "yes", "no"], size: int, workers: int | None) -> Residency:
    """Decides where images are kept.

    Args:
        asked: The setting `resident`.
        size: The bytes of all images of the training split as uint8.
        workers: The setting of this name; None leaves one core of each process to its training.
    """
    if workers is None:
        workers = max(1, min(_MOST_WORKERS, usable_cores() // local_processes() - 1))
    resident = asked == "yes" or (asked == "auto" and size <= RESIDENT_BYTES)
    return Residency(resident=resident, size=size, asked=asked, workers=workers)


_UNITS = ((1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB"))


def _bytes(size: int) -> str:
    unit, name = next(((unit, name) for unit, name in _UNITS if size >= unit), (1, "bytes"))
    return f"{size / unit:.3g} {name}"
