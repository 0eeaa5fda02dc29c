"""Every random number of a run as a pure function of the seed, a stream, and a position.

numpy's Philox is a counter-based generator (Salmon et al. 2011): a key selects a stream of numbers, a counter the
position in it. So there is no state to save, and a resumed run draws the same numbers as an uninterrupted one.
`gan_core.row_randomness` draws for the rows of a global batch, the same on any number of processes.
"""

import hashlib
import struct
from dataclasses import dataclass
from functools import cache

import numpy as np
import torch


@dataclass(frozen=True, slots=True)
class Streams:
    """The random streams of one seed."""

    seed: int

    def at(self, stream: str, position: int, part: int = 0) -> np.random.Generator:
        """Returns the generator of one draw: the same for the same arguments, on any machine."""
        return np.random.Generator(self.bits(stream, position, part))

    def bits(self, stream: str, position: int, part: int = 0, first: int = 0) -> np.random.Philox:
        """Returns the bit generator of `at`, from the block of 32 bytes with the number `first` on."""
        # The lowest word of the 256-bit counter counts the blocks within the draw; the two highest select the draw.
        counter = np.array([first, 0, part, position], dtype=np.uint64)
        return np.random.Philox(key=np.array([self.seed, _number(stream)], dtype=np.uint64), counter=counter)

    def seed_modules(self, stream: str, position: int, part: int) -> None:
        """Reseeds torch's global generators, from which modules such as dropout draw.

        Pass a different `part` on each process. What modules draw is exact on resume, but depends on the number of
        processes.
        """
        # torch's CPU generator uses only 32 bits of its seed.
        words = struct.pack("<QQQQ", self.seed, _number(stream), position, part)
        seed = int.from_bytes(hashlib.blake2b(words, digest_size=4).digest(), "little")
        if _accelerated():
            torch.manual_seed(seed)
        else:  # It would also store the seed, with a traceback, for GPUs that a build for CUDA may find later.
            torch.default_generator.manual_seed(seed)


@cache
def _accelerated() -> bool:
    return torch.accelerator.is_available()


@cache
def _number(stream: str) -> int:
    return int.from_bytes(hashlib.sha256(stream.encode()).digest()[:8], "little")


@dataclass(frozen=True, slots=True)
class Share:
    """This process's part of every global batch."""

    rank: int
    world: int

    def micro_batches(self, batch: int, accumulate: int) -> list[slice]:
        """Returns this process's slices of a global batch, one for each micro-batch.

        The global batch is split into micro-batches first, and each micro-batch over the processes, so that the same
        images are normalised together on any number of processes.
        """
        micro_batch = batch // accumulate
        size = micro_batch // self.world
        starts = [micro * micro_batch + self.rank * size for micro in range(accumulate)]
        return [slice(start, start + size) for start in starts]
