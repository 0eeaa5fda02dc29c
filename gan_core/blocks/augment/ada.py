"""Adaptive discriminator augmentation (ADA): random operations, applied with a probability p that adapts.

Karras et al. 2020, Training Generative Adversarial Networks with Limited Data, appendix B: pixel blitting, geometric
and colour transformations, the operations that the paper recommends ("bgc" in its program), with its ranges.
"""

from collections.abc import Iterable
from math import pi

import torch
from torch import Tensor, nn

from gan_core.blocks.augment.matrices import about_grey, product, rotation, scaling, shift_of_colours, translation
from gan_core.blocks.augment.resampling import AffineResampler
from gan_core.blocks.augment.rows import RowRandomness

GROUPS = {
    "pixel": ("xflip", "rotate90", "xint"),
    "geometric": ("scale", "rotate", "aniso", "xfrac"),
    "colour": ("brightness", "contrast", "lumaflip", "hue", "saturation"),
}
"""Groups of operations, in the order in which they are applied, and the operations of each, named as in the program."""
OPERATIONS = (*GROUPS, *(name for names in GROUPS.values() for name in names))
"""What can be selected: groups, and single operations."""
INTERVAL = 4
"""Updates of the discriminator between two changes of p (section 3.1)."""


class _Chance:
    """The random numbers of the images, and whether an operation is applied to each: with probability p."""

    def __init__(self, random: RowRandomness, uniforms: int, normals: int) -> None:
        self.uniform, self.normal = iter(random.uniform(uniforms)), iter(random.normal(normals) if normals else [])

    def __call__(self, p: Tensor, value: Tensor, otherwise: float) -> Tensor:
        return torch.where(next(self.uniform) < p, value, otherwise)

    def angle(self) -> Tensor:
        """Returns angles from U[-π, π)."""
        return (2 * next(self.uniform) - 1) * pi


class Ada(nn.Module):
    """The operations, and p with what it depends on: a state of the game, whose buffers stay on the device."""

    p: Tensor
    signs: Tensor
    updates: Tensor

    def __init__(
        self,
        height: int,
        width: int,
        operations: Iterable[str] = tuple(GROUPS),
        *,
        p: float = 0.0,
        target: float | None = 0.6,
        kimg: float = 500.0,
    ) -> None:
        """Makes the operations for images of one size.

        Args:
            height: Rows of an image.
            width: Columns of an image.
            operations: Names from `OPERATIONS`.
            p: The probability of each operation at the beginning.
            target: The value of r_t = E[sign(D(x))] at which p stays where it is; None keeps p.
            kimg: Thousands of real images in which p can change by 1.
        """
        super().__init__()
        self.operations = frozenset(name for chosen in operations for name in GROUPS.get(chosen, (chosen,)))
        self.target, self.kimg = target, kimg
        self.resampler = AffineResampler(height, width)
        self.register_buffer("p", torch.tensor(float(p)))
        self.register_buffer("signs", torch.tensor(0.0))
        self.register_buffer("updates", torch.tensor(0))

    def adapt(self, sign: Tensor, images: int) -> None:
        """Counts an update of the discriminator, and changes p after every `INTERVAL` of them.

        p rises by INTERVAL · images / (1000 · kimg) if r_t over these updates is above the target and falls by it, but
        not below 0, if it is below (section 3.1).

        Args:
            sign: The mean of sign(D(x)) over the real images of all processes, a scalar.
            images: Real images of the update, over all processes.
        """
        if self.target is None:
            return
        self.signs.add_(sign)
        self.updates.add_(1)
        due = self.updates >= INTERVAL
        # Whole numbers, so that the order in which processes were added makes no difference at the target itself.
        above = (self.signs * images).round() - self.target * INTERVAL * images
        changed = (self.p + above.sign() * (INTERVAL * images / (1000 * self.kimg))).clamp_min(0)
        self.p.copy_(torch.where(due, changed, self.p))
        self.signs.copy_(torch.where(due, 0.0, self.signs))
        self.updates.copy_(torch.where(due, 0, self.updates))

    def forward(self, images: Tensor, random: RowRandomness) -> Tensor:
        """Returns the augmented images (B, C, H, W) for images in [-1, 1] with 1 or 3 channels."""
        if self._any_of("pixel") or self._any_of("geometric"):
            images = self.resampler(images, self._inverse(images, random))
        return self._colour(images, random) if self._any_of("colour") else images

    def _any_of(self, group: str) -> bool:
        return not self.operations.isdisjoint(GROUPS[group])

    def _p(self, name: str) -> Tensor:
        """Returns the probability of an operation. One that was not selected is drawn as the others, and has 0."""
        return self.p if name in self.operations else torch.zeros_like(self.p)

    def _inverse(self, images: Tensor, random: RowRandomness) -> Tensor:
        """Draws transformations of the plane; returns matrices (B, 3, 3) from the result to the images."""
        height, width = images.shape[2:]
        inverses = []
        if self._any_of("pixel"):
            inverses += self._pixel(_Chance(random, 7, 0), height, width)
        if self._any_of("geometric"):
            inverses += self._geometric(_Chance(random, 7, 4), height, width)
        return product(*inverses)

    def _pixel(self, chance: _Chance, height: int, width: int) -> list[Tensor]:
        """Mirroring, quarter turns, and translations by whole pixels up to an eighth of the side."""
        flipped = chance(self._p("xflip"), (2 * next(chance.uniform)).floor(), 0.0)
        turns = chance(self._p("rotate90"), (4 * next(chance.uniform)).floor(), 0.0)
        x, y = (torch.round((2 * next(chance.uniform) - 1) / 8 * side) for side in (width, height))
        moved = next(chance.uniform) < self._p("xint")
        x, y = torch.where(moved, x, 0.0), torch.where(moved, y, 0.0)
        mirrored = scaling(1 - 2 * flipped, torch.ones_like(flipped))
        return [mirrored, rotation(turns * (pi / 2)), translation(-x, -y)]

    def _geometric(self, chance: _Chance, height: int, width: int) -> list[Tensor]:
        """Scaling, rotation before and after anisotropic scaling, and translation by parts of pixels."""
        scale = chance(self._p("scale"), torch.exp2(0.2 * next(chance.normal)), 1.0)
        either = 1 - (1 - self._p("rotate")).clamp(0, 1).sqrt()  # So that one of both rotations has probability p.
        before, after = (chance(either, chance.angle(), 0.0) for _ in range(2))
        stretch = chance(self._p("aniso"), torch.exp2(0.2 * next(chance.normal)), 1.0)
        x, y = (0.125 * side * next(chance.normal) for side in (width, height))
        moved = next(chance.uniform) < self._p("xfrac")
        x, y = torch.where(moved, x, 0.0), torch.where(moved, y, 0.0)
        return [
            scaling(1 / scale, 1 / scale),
            rotation(before),
            scaling(1 / stretch, stretch),
            rotation(after),
            translation(-x, -y),
        ]

    def _colour(self, images: Tensor, random: RowRandomness) -> Tensor:
        """Brightness, contrast, luma flip, hue and saturation; a grey image is an RGB image of equal channels."""
        chance = _Chance(random, 7, 3)
        brightness = chance(self._p("brightness"), 0.2 * next(chance.normal), 0.0)
        contrast = chance(self._p("contrast"), torch.exp2(0.5 * next(chance.normal)), 1.0)
        luma = 1 - 2 * chance(self._p("lumaflip"), (2 * next(chance.uniform)).floor(), 0.0)
        hue = chance(self._p("hue"), chance.angle(), 0.0)
        saturation = chance(self._p("saturation"), torch.exp2(next(chance.normal)), 1.0)
        colours = product(
            about_grey(contrast * luma, contrast * saturation, hue),
            shift_of_colours(brightness),
        )
        factors, shift = colours[:, :3, :3], colours[:, :3, 3]
        if images.shape[1] == 1:
            factors, shift = factors.sum(2).mean(1).view(-1, 1, 1), shift.mean(1, keepdim=True)
        return (factors @ images.flatten(2) + shift.unsqueeze(2)).view_as(images)
