"""Distances to nearest neighbours, computed in chunks of the distance matrix."""

import torch
from torch import Tensor

CHUNK = 1000
"""Rows of the distance matrix that are held in memory at a time."""


def distances(queries: Tensor, references: Tensor) -> Tensor:
    """Returns Euclidean distances (M, N) in float64. In float32 an image's distance to itself is not close to 0."""
    centre = references.double().mean(0)
    return torch.cdist(queries.double() - centre, references.double() - centre)


def kth_distance(points: Tensor, k: int) -> Tensor:
    """Returns the distance of each point (N, d) to its k-th nearest other point: (N,) float64."""
    found = []
    for first in range(0, len(points), CHUNK):
        part = distances(points[first : first + CHUNK], points)
        rows = torch.arange(len(part), device=part.device)
        part[rows, rows + first] = torch.inf
        # Not kthvalue, which torch refuses on GPUs where only deterministic algorithms are allowed.
        found.append(part.topk(k, dim=1, largest=False).values[:, -1])
    return torch.cat(found)


def nearest(queries: Tensor, references: Tensor) -> tuple[Tensor, Tensor]:
    """Returns each query's (M, d) distance to the nearest reference (N, d), and the reference's index: (M,) each."""
    found = [distances(part, references).min(dim=1) for part in queries.split(CHUNK)]
    return torch.cat([part.values for part in found]), torch.cat([part.indices for part in found])
