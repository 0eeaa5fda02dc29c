"""Homogeneous matrices, one for each image. They are multiplied without TF32, whose errors would be whole pixels."""

from collections.abc import Sequence

import torch
from torch import Tensor

Entry = Tensor | float


def matrices(rows: Sequence[Sequence[Entry]], like: Tensor) -> Tensor:
    """Returns matrices (B, R, S) whose entries are numbers or tensors (B,), `like`, by row."""
    entries = [entry if isinstance(entry, Tensor) else torch.full_like(like, entry) for row in rows for entry in row]
    return torch.stack(entries, -1).view(-1, len(rows), len(rows[0]))


def product(first: Tensor, *others: Tensor) -> Tensor:
    """Returns the product of matrices (B, R, R) from left to right."""
    for other in others:
        first = (first.unsqueeze(-1) * other.unsqueeze(-3)).sum(-2)
    return first


def translation(x: Tensor, y: Tensor) -> Tensor:
    """Returns the matrices (B, 3, 3) that move points of the plane by x and y, (B,)."""
    return matrices([[1.0, 0.0, x], [0.0, 1.0, y], [0.0, 0.0, 1.0]], x)


def scaling(x: Tensor, y: Tensor) -> Tensor:
    """Returns the matrices (B, 3, 3) that scale the plane by x and y, (B,)."""
    return matrices([[x, 0.0, 0.0], [0.0, y, 0.0], [0.0, 0.0, 1.0]], x)


def rotation(angle: Tensor) -> Tensor:
    """Returns the matrices (B, 3, 3) that rotate the plane from the x-axis to the y-axis, in radians, (B,)."""
    cos, sin = angle.cos(), angle.sin()
    return matrices([[cos, -sin, 0.0], [sin, cos, 0.0], [0.0, 0.0, 1.0]], angle)


def shift_of_colours(by: Tensor) -> Tensor:
    """Returns the matrices (B, 4, 4) that add `by`, (B,), to each channel."""
    return matrices([[1.0, 0.0, 0.0, by], [0.0, 1.0, 0.0, by], [0.0, 0.0, 1.0, by], [0.0, 0.0, 0.0, 1.0]], by)


def about_grey(along: Tensor, across: Tensor, angle: Tensor) -> Tensor:
    """Returns the matrices (B, 4, 4) that change RGB colours along and around the grey axis (1, 1, 1) / √3.

    Args:
        along: Factor on the part along the axis, the luma, (B,).
        across: Factor on the part across the axis, the saturation, (B,).
        angle: Rotation around the axis, the hue, in radians, (B,): Rodrigues' formula.
    """
    third, cos, sin = (along - across * angle.cos()) / 3, across * angle.cos(), across * angle.sin() / 3**0.5
    same, less, more = third + cos, third - sin, third + sin
    return matrices(
        [[same, less, more, 0.0], [more, same, less, 0.0], [less, more, same, 0.0], [0.0, 0.0, 0.0, 1.0]], along
    )
