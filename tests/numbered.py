"""Images that are made from their number: sets of any size without a file. Nothing here imports torch."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Numbered:
    """Image i has the value i mod 256 everywhere, but for its first four pixels: the bytes of i."""

    count: int
    size: int = 2

    @property
    def shapes(self) -> dict[str, tuple[int, int, int]]:
        return {"images": (1, self.size, self.size)}

    @property
    def fingerprint(self) -> str:
        return f"{self.count} of {self.size}"

    def __len__(self) -> int:
        return self.count

    def decode(self, index: int) -> dict[str, NDArray[np.uint8]]:
        image = np.full(self.shapes["images"], index % 256, np.uint8)
        image.reshape(-1)[:4] = np.frombuffer(index.to_bytes(4, "little"), np.uint8)
        return {"images": image}

    def name(self, index: int) -> str:
        return f"number {index}"


def numbers(images: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Returns which images these are."""
    return np.ascontiguousarray(images.reshape(len(images), -1)[:, :4]).view("<u4")[:, 0].astype(np.int64)


def describe(request):  # type: ignore[no-untyped-def]
    """Describes a million images of 48 x 48; imported by the process that trains only."""
    from gan_core import Dataset, DataSpec, ImageField, Table, choose_residency, read_rows

    decoder = Numbered(1_000_000, 48)
    table = Table(fields={"images": ImageField(channels=1, height=48, width=48)}, count=len(decoder))
    residency = choose_residency(request.resident, len(decoder) * 48 * 48, request.workers)
    return Dataset(
        spec=DataSpec(name=request.name, tables={"images": table}),
        splits={"train": {"images": len(decoder)}},
        read=lambda _table, _split: read_rows(decoder, {}, residency),
        residency=residency,
    )


def __getattr__(name: str) -> object:
    """Gives the data set to those who ask for it, so that workers import no torch."""
    if name != "source":
        raise AttributeError(name)
    from gan_core import DataSource

    return DataSource(api=1, open=describe)
