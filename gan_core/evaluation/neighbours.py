"""Distances to nearest neighbours, a part of the matrix of all distances at a time."""

import torch
from torch import Tensor

CHUNK = 1000
"""Rows of the matrix of distances that are in memory at once."""


def distances(queries: Tensor, references: Tensor) -> Tensor:
    """Returns Euclidean distances (M, N), in float64: in float32 that of an image to itself is not nearly 0."""
    centre = references.double().mean(0)
    return torch.cdist(queries.double() - centre, references.double() - centre)


def kth_distance(points: Tensor, k: int) -> Tensor:
    """Returns the distance of each point (N, d) to the k-th nearest of the others: (N,), float64."""
    found = []
    for first in range(0, len(points), CHUNK):
        part = distances(points[first : first + CHUNK], points)
        rows = torch.arange(len(part), device=part.device)
        part[rows, rows + first] = torch.inf
        found.append(part.kthvalue(k, dim=1).values)
    return torch.cat(found)


def nearest(queries: Tensor, references: Tensor) -> tuple[Tensor, Tensor]:
    """Returns the distance of each query (M, d) to the nearest reference (N, d), and which that is: (M,) each."""
    found = [distances(part, references).min(dim=1) for part in queries.split(CHUNK)]
    return torch.cat([part.values for part in found]), torch.cat([part.indices for part in found])
