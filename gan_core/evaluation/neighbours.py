"""Distances to nearest neighbours, computed in tiles of the distance matrix, which bounds the copies in float64."""

from collections.abc import Iterator

import torch
from torch import Tensor

CHUNK = 1000
"""Rows and columns of a tile."""


def distances(queries: Tensor, references: Tensor) -> Tensor:
    """Returns Euclidean distances (M, N) in float64. In float32 an image's distance to itself is not close to 0."""
    return torch.cat(list(_tiles(queries, references, _centre(references))), dim=1)


def kth_distance(points: Tensor, k: int) -> Tensor:
    """Returns the distance of each point (N, d) to its k-th nearest other point: (N,) float64."""
    found, centre = [], _centre(points)
    for first in range(0, len(points), CHUNK):
        part = torch.cat(list(_tiles(points[first : first + CHUNK], points, centre)), dim=1)
        rows = torch.arange(len(part), device=part.device)
        part[rows, rows + first] = torch.inf
        # Not kthvalue, which torch refuses on GPUs where only deterministic algorithms are allowed.
        found.append(part.topk(k, dim=1, largest=False).values[:, -1])
    return torch.cat(found)


def nearest(queries: Tensor, references: Tensor) -> tuple[Tensor, Tensor]:
    """Returns each query's (M, d) distance to the nearest reference (N, d), and the reference's index: (M,) each."""
    found, centre = [], _centre(references)
    for part in queries.split(CHUNK):
        by_tile = [tile.min(dim=1) for tile in _tiles(part, references, centre)]
        values, tile = torch.stack([best.values for best in by_tile]).min(dim=0)
        indices = torch.stack([best.indices for best in by_tile]).gather(0, tile[None])[0]
        found.append((values, indices + tile * CHUNK))
    all_values, all_indices = zip(*found, strict=True)
    return torch.cat(all_values), torch.cat(all_indices)


def _centre(references: Tensor) -> Tensor:
    """Returns a point near the middle of the references (N, d): (d,) float64. Far from it, distances lose digits."""
    return references.mean(0).double()


def _tiles(queries: Tensor, references: Tensor, centre: Tensor) -> Iterator[Tensor]:
    """Yields the distances (M, up to `CHUNK`) of M queries to consecutive references."""
    centred = queries.double() - centre
    return (torch.cdist(centred, part.double() - centre) for part in references.split(CHUNK))
