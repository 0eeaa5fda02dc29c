"""Random numbers for the rows of a global batch: the same on any number of processes.

Rows are drawn in blocks of `BLOCK`, each from a generator of its own, so a process draws only the blocks that its rows
are in. Random bits for layers are drawn row by row.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from gan_core.randomness import Streams
from gan_core.transfer import to_device

BLOCK = 16
"""Rows that are drawn together."""

WORDS = 4
"""Numbers of 64 bits in one block of Philox."""


@dataclass(frozen=True, slots=True)
class Draws:
    """The random numbers of one stream at one position, for some rows of a global batch.

    Attributes:
        streams: The streams of the run's seed.
        stream: The name of the stream.
        position: The position in it.
        rows: The rows of the global batch for which numbers are drawn.
    """

    streams: Streams
    stream: str
    position: int
    rows: slice

    def blocks(self) -> Iterator[tuple[int, np.random.Generator]]:
        """Yields the first row of each block that has some of the rows, and the block's generator."""
        for number in range(self.rows.start // BLOCK, -(-self.rows.stop // BLOCK)):
            yield number * BLOCK, self.streams.at(self.stream, self.position, number)

    def own(self, drawn: list[Tensor]) -> Tensor:
        """Returns the rows from tensors that have one block each."""
        whole = drawn[0] if len(drawn) == 1 else torch.cat(drawn)
        first = self.rows.start // BLOCK * BLOCK
        return whole[self.rows.start - first : self.rows.stop - first]

    def named(
        self, total: int, draw: Callable[[np.random.Generator, int, int], Mapping[str, Tensor]]
    ) -> dict[str, Tensor]:
        """Returns the rows of tensors by name.

        Args:
            total: Rows of the global batch.
            draw: `draw(random, first, count)` returns rows `first` and on.
        """
        drawn = [draw(random, first, min(BLOCK, total - first)) for first, random in self.blocks()]
        return {name: self.own([block[name] for block in drawn]) for name in drawn[0]}

    def bits(self, number: int, shape: tuple[int, ...], dtype: type[np.integer]) -> Tensor:
        """Returns uniformly distributed integers (rows, *shape); each row has bits of its own.

        Args:
            number: Number of the draw: different ones are independent.
            shape: The shape of a row.
            dtype: A signed integer type of numpy; its whole range is drawn.
        """
        size = int(np.prod(shape, dtype=np.int64))
        blocks = -(-size * np.dtype(dtype).itemsize // (8 * WORDS))
        count = self.rows.stop - self.rows.start
        raw = self.streams.bits(self.stream, self.position, number, self.rows.start * blocks)
        words = raw.random_raw(count * blocks * WORDS).view(dtype).reshape(count, -1)
        return torch.from_numpy(words[:, :size]).reshape(count, *shape)


class UpdateRandomness:
    """The random numbers of a loss in one update; see `gan_core.game.batch.Randomness`."""

    def __init__(self, draws: Draws, device: torch.device, dtype: torch.dtype) -> None:
        self.draws, self.device, self.dtype = draws, device, dtype
        self._generators: list[np.random.Generator] = []

    def uniform(self, *shape: int) -> Tensor:
        """Draws from U[0, 1): (B, *shape)."""
        return self._own([random.random((BLOCK, *shape), dtype=np.float32) for random in self._blocks()])

    def normal(self, *shape: int) -> Tensor:
        """Draws from N(0, 1): (B, *shape)."""
        return self._own([random.standard_normal((BLOCK, *shape), dtype=np.float32) for random in self._blocks()])

    def _blocks(self) -> list[np.random.Generator]:
        if not self._generators:
            self._generators = [random for _, random in self.draws.blocks()]
        return self._generators

    def _own(self, drawn: list[np.ndarray[tuple[int, ...], np.dtype[np.float32]]]) -> Tensor:
        return to_device(self.draws.own([torch.from_numpy(block) for block in drawn]), self.device, self.dtype)


class LayerRandomness:
    """Random bits for the layers of the networks, in the order in which the layers ask for them."""

    def __init__(self, draws: Draws) -> None:
        self.draws, self.number = draws, 0

    def bits(self, rows: int, shape: tuple[int, ...], dtype: type[np.integer]) -> Tensor:
        """Returns uniformly distributed integers (rows, *shape).

        The rows are taken for those of the global batch in the order of the processes, or for the same number of rows
        for each of these.
        """
        part, number = self.draws.rows, self.number
        self.number += 1
        start = part.start * rows // (part.stop - part.start)
        draws = Draws(self.draws.streams, self.draws.stream, self.draws.position, slice(start, start + rows))
        return draws.bits(number, shape, dtype)


_layers: ContextVar[LayerRandomness | None] = ContextVar("layers", default=None)


def layer_randomness() -> LayerRandomness | None:
    """Returns what layers draw from now; None outside of `layers_draw`."""
    return _layers.get()


@contextmanager
def layers_draw(random: LayerRandomness) -> Iterator[None]:
    """Within it, layers draw from `random`."""
    token = _layers.set(random)
    try:
        yield
    finally:
        _layers.reset(token)
