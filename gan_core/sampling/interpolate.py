"""Images between two samples: the generator's floating-point inputs are interpolated, all others stay those of one."""

from collections.abc import Iterator, Sequence

import torch
from PIL import Image
from torch import Tensor

from gan_core.errors import UserError
from gan_core.game.batch import Inputs
from gan_core.sampling.files import MOST_ROWS, arranged, picture
from gan_core.sampling.given import BLOCK
from gan_core.sampling.sampler import Sampler, quantised

MOST_PAIRS = BLOCK // 2


def slerp(one: Tensor, other: Tensor, at: float) -> Tensor:
    """Interpolates along the arc between the rows of two tensors (Shoemake 1985, Animating Rotation with Quaternions).

    The norm of a Gaussian latent is nearly constant, and the middle of a straight line between two has a smaller one,
    which the generator has never seen (White 2016, Sampling Generative Networks, section 2.1). Rows that are parallel,
    or of one number, are interpolated linearly.

    Args:
        one: Rows (B, ...), floating-point.
        other: As many rows of the same shape.
        at: 0 returns `one`, and 1 `other`.
    """
    first, last = (rows.flatten(1).double() for rows in (one, other))
    cosine = torch.nn.functional.cosine_similarity(first, last, dim=1).clamp(-1, 1)
    angle = cosine.acos()[:, None]
    sine, straight = angle.sin(), angle.sin() < 1e-6
    weights = [
        torch.where(straight, linear, (linear * angle).sin() / sine.where(~straight, 1.0)) for linear in (1 - at, at)
    ]
    return (weights[0] * first + weights[1] * last).to(one.dtype).reshape(one.shape)


def between(inputs: Inputs, pairs: int, at: float) -> dict[str, Tensor]:
    """Returns the inputs between rows 0 to `pairs` - 1 and the `pairs` rows after them; `at` as for `slerp`.

    Inputs that are not floating-point numbers, such as labels, are those of the first rows.
    """
    return {
        name: slerp(rows[:pairs], rows[pairs : 2 * pairs], at) if rows.is_floating_point() else rows[:pairs]
        for name, rows in inputs.items()
    }


def interpolated(sampler: Sampler, pairs: int, steps: int, label: int | None = None) -> Iterator[Tensor]:
    """Yields the images at `steps` places between the samples of each pair: (pairs, C, H, W) uint8 on the CPU.

    Both samples of a pair have the same label: `label`, or the classes in rotation.

    Raises:
        UserError: The output is made from images, its inputs have no floating-point numbers, or a count is not allowed.
    """
    if sampler.images_given:
        what = " and ".join(sampler.images_given)
        raise UserError(
            f"interpolate: the output {sampler.name!r} is made from images ({what}), which are not interpolated"
        )
    if not 1 <= pairs <= MOST_PAIRS:
        raise UserError(f"count: {pairs} is not allowed with --interpolate. It must be 1 to {MOST_PAIRS}")
    sampler.prepare()
    labels = sampler.labels(pairs, label)
    if labels is not None:
        labels = labels.repeat(2 + BLOCK // pairs)[:BLOCK]
    inputs = sampler.inputs(0, labels)
    if not any(rows.is_floating_point() for rows in inputs.values()):
        raise UserError(
            f"interpolate: the inputs of this generator ({', '.join(inputs) or 'none'}) have no floating-point numbers"
        )
    for step in range(steps):
        yield quantised(sampler.images(between(inputs, pairs, step / (steps - 1)), 0)[sampler.name])


def row_names(sampler: Sampler, rows: int, label: int | None) -> Sequence[str]:
    """Returns the name of the class of each row; none where the generator is not conditional."""
    labels = sampler.labels(rows, label)
    names = sampler.data.class_names
    return [] if labels is None or rows > MOST_ROWS else [names[number] for number in labels.tolist()]


def interpolation_grid(sampler: Sampler, pairs: int, steps: int, label: int | None = None) -> Image.Image:
    """Draws a grid with a row for each pair of samples, from one to the other; see `interpolated`."""
    columns = list(interpolated(sampler, pairs, steps, label))
    return arranged([picture(image) for column in columns for image in column], pairs, row_names(sampler, pairs, label))


def interpolation_frames(sampler: Sampler, pairs: int, steps: int, label: int | None = None) -> Iterator[Image.Image]:
    """Yields the same images as `interpolation_grid`, one place after the other: the frames of a film."""
    names = row_names(sampler, pairs, label)
    for images in interpolated(sampler, pairs, steps, label):
        rows = pairs if names else max(1, round(pairs**0.5))
        yield arranged([picture(image) for image in images], rows, names)
