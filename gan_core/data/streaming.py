"""Rows whose images are decoded each time they are shown, for data sets that do not fit in memory."""

import os
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gan_core.console import PlainConsole
from gan_core.cores import local_processes, usable_cores
from gan_core.data.dataset import Indices, RealRows, ResidentRows, Rows, fingerprint_of
from gan_core.data.decoder import Decoder, fields_of, row_bytes
from gan_core.data.residency import Residency
from gan_core.data.sent import encode
from gan_core.data.worker import fill
from gan_core.data.workers import CHANGED, Workers
from gan_core.errors import TrainingError
from gan_core.progress import progress
from gan_core.transfer import to_device


class StreamedRows:
    """Rows whose images worker processes decode ahead of time, in the order in which they are asked for."""

    def __init__(
        self,
        decoder: Decoder,
        labels: Mapping[str, Tensor] | None = None,
        *,
        workers: int = 1,
        device: torch.device | None = None,
    ) -> None:
        """Takes what decodes the images of a row.

        Args:
            decoder: Decodes rows.
            labels: The label fields of all rows, (N,) int64 on the CPU.
            workers: How many processes decode; with 0, this process does.
            device: Where batches are sent; None is the CPU.

        Raises:
            UserError: The decoder cannot be sent to worker processes; see `gan_core.data.sent`.
        """
        if workers:
            encode(decoder)  # Now, not when training begins.
        self.decoder, self.labels, self.workers = decoder, labels or {}, workers
        self.device = device or torch.device("cpu")
        self._idle: list[Workers] = []

    @cached_property
    def fingerprint(self) -> str:
        """sha256 of the images' fingerprint and the labels: the same as of resident rows."""
        return fingerprint_of(self.decoder, self.labels)

    def to(self, device: torch.device) -> "StreamedRows":
        """Returns the rows with every batch sent to the device."""
        return StreamedRows(self.decoder, self.labels, workers=self.workers, device=device)

    def batches(self, indices: Iterable[Indices]) -> Iterator[RealRows]:
        """Decodes the rows at each list of indices, a few batches ahead.

        Raises:
            IndexError: There is no such row.
            TrainingError: A row cannot be decoded any more, or a worker process was killed.
        """
        asked: deque[NDArray[np.int64]] = deque()
        if not self.workers:
            for one in indices:
                at = self._checked(one)
                rows = np.empty((len(at), row_bytes(self.decoder)), np.uint8)
                if problem := fill(self.decoder, at, rows):
                    raise TrainingError(CHANGED + problem)
                yield self._placed(at, rows)
            return
        workers = self._idle.pop() if self._idle else Workers(self.decoder, self.workers)

        def pieces() -> Iterator[NDArray[np.int64]]:
            for one in indices:
                at = self._checked(one)
                asked.append(at)
                yield from (at[start : start + workers.piece] for start in range(0, len(at), workers.piece))

        decoded = workers.decode(pieces())
        try:
            for first in decoded:
                at = asked.popleft()
                rows = np.empty((len(at), first.shape[1]), np.uint8)
                rows[: len(first)] = first
                for start in range(len(first), len(at), workers.piece):
                    piece = next(decoded)
                    rows[start : start + len(piece)] = piece
                yield self._placed(at, rows)
        finally:
            decoded.close()  # type: ignore[attr-defined]
            self._idle.append(workers)

    def _checked(self, indices: Indices) -> NDArray[np.int64]:
        at = np.asarray(indices, dtype=np.int64)
        if at.size and not 0 <= int(at.min()) <= int(at.max()) < len(self.decoder):
            raise IndexError(f"rows {at.min()} to {at.max()} of {len(self.decoder)}")
        return at

    def _placed(self, at: NDArray[np.int64], rows: NDArray[np.uint8]) -> RealRows:
        fields = fields_of(self.decoder, rows)
        images = {name: torch.from_numpy(np.ascontiguousarray(image)) for name, image in fields.items()}
        labels = {name: column[torch.from_numpy(at)] for name, column in self.labels.items()}
        return {name: to_device(column, self.device) for name, column in (images | labels).items()}


def read_rows(decoder: Decoder, labels: Mapping[str, Tensor], residency: Residency) -> Rows:
    """Returns rows that are kept in memory or decoded each time, as `residency` says; they are the same rows.

    Args:
        decoder: Decodes rows.
        labels: The label fields of all rows, (N,) int64 on the CPU.
        residency: What was decided; see `gan_core.data.residency.choose_residency`.

    Raises:
        UserError: The decoder cannot be sent to worker processes; see `gan_core.data.sent`.
        TrainingError: A row that is to be kept cannot be decoded.
    """
    if not residency.resident:
        return StreamedRows(decoder, labels, workers=residency.workers)
    count = len(decoder)
    many = count > _FEW or count * row_bytes(decoder) > _FEW_BYTES
    cores = usable_cores() // local_processes() or 1
    reading = StreamedRows(decoder, workers=cores if many and residency.workers else 0)
    columns = {name: torch.empty((count, *shape), dtype=torch.uint8) for name, shape in decoder.shapes.items()}
    blocks = [np.arange(start, min(start + _BLOCK, count)) for start in range(0, count, _BLOCK)]
    batches: Iterable[RealRows] = reading.batches(blocks)
    if many and os.environ.get("LOCAL_RANK", "0") == "0":
        what = f"reading {count:,} images into memory"
        batches = progress(batches, count, what, PlainConsole(stderr=True), each=_BLOCK)
    for block, batch in zip(blocks, batches, strict=True):
        for name, images in batch.items():
            columns[name][int(block[0]) : int(block[-1]) + 1] = images
    return ResidentRows({**columns, **labels}, known_fingerprint=fingerprint_of(decoder, labels))


_FEW, _FEW_BYTES = 2000, 64 << 20
"""Up to so many images are decoded in a second by this process alone, which is how long it takes to start others."""
_BLOCK = 256
"""Images that are read at a time."""
