"""Differentiable augmentation: each operation against closed forms, torchvision, and matrices composed by numpy."""

import math
from collections.abc import Callable, Sequence

import numpy as np
import pytest
import torch
import torch.nn.functional as F
import torchvision.transforms.functional as TF
from torch import Tensor

from gan_core import Ada, DiffAugment
from gan_core.blocks.augment.ada import GROUPS
from gan_core.blocks.augment.diffaugment import colour, cut_out, translate
from gan_core.blocks.augment.matrices import about_grey, product, rotation, shift_of_colours, translation
from gan_core.blocks.augment.resampling import SYM6, AffineResampler, bilinear
from gan_core.blocks.augment.rows import RowRandomness


class Given:
    """Random numbers for real rows that a test has chosen: the next columns of (rows, numbers)."""

    def __init__(self, uniform: Tensor, normal: Tensor | None = None) -> None:
        self.left = {"uniform": uniform, "normal": torch.zeros(len(uniform), 0) if normal is None else normal}

    def _next(self, kind: str, numbers: int) -> Tensor:
        drawn, self.left[kind] = self.left[kind][:, :numbers], self.left[kind][:, numbers:]
        assert drawn.shape[1] == numbers
        return drawn.unsqueeze(1)

    def uniform(self, *shape: int) -> Tensor:
        return self._next("uniform", shape[1])

    def normal(self, *shape: int) -> Tensor:
        return self._next("normal", shape[1])

    def rows(self) -> RowRandomness:
        count = len(self.left["uniform"])
        return RowRandomness(self, count, count)


def random_images(*shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(1), dtype=dtype) * 2 - 1


def drawn(count: int, uniforms: int, normals: int = 0, dtype: torch.dtype = torch.float32) -> Given:
    generator = torch.Generator().manual_seed(2)
    uniform = torch.rand(count, uniforms, generator=generator, dtype=dtype)
    return Given(uniform, torch.randn(count, normals, generator=generator, dtype=dtype))


def test_operations_of_no_strength_change_nothing() -> None:
    images = random_images(5, 3, 10, 7)
    zero, one = torch.zeros(5), torch.ones(5)
    assert torch.allclose(colour(images, zero, one, one), images, atol=1e-6)
    assert torch.equal(translate(images, zero, zero), images)
    assert torch.equal(cut_out(images, zero, zero, 0, 3), images)
    augmented = Ada(10, 7, p=0.0)(images, drawn(5, 21, 7).rows())
    assert torch.allclose(augmented, images, atol=2e-6)
    half = Ada(10, 7, p=0.5)(images, drawn(5, 21, 7).rows())
    assert all(not torch.allclose(before, after, atol=0.1) for before, after in zip(images, half, strict=True))


def test_translation_against_torchvision() -> None:
    images = random_images(4, 2, 6, 9)
    down, right = torch.tensor([0.0, 2.0, -3.0, -6.0]), torch.tensor([1.0, -4.0, 0.0, 2.0])
    moved = translate(images, down, right)
    for before, after, y, x in zip(images, moved, down.tolist(), right.tolist(), strict=True):
        expected = TF.affine(before, angle=0.0, translate=[int(x), int(y)], scale=1.0, shear=[0.0])
        assert torch.equal(after, expected)
    assert not moved[3].any()


def test_cutout_against_torchvision_s_erase() -> None:
    images = random_images(3, 1, 8, 8)
    cut = cut_out(images, torch.tensor([1.0, -2.0, 6.0]), torch.tensor([2.0, 5.0, 0.0]), 4, 3)
    for number, (top, left, height, width) in enumerate([(1, 2, 4, 3), (0, 5, 2, 3), (6, 0, 2, 3)]):
        assert torch.equal(cut[number], TF.erase(images[number], top, left, height, width, torch.tensor(0.0)))


def test_colour_by_hand() -> None:
    # Two pixels of two channels: (0.1, 0.3) and (0.5, -0.1).
    images = torch.tensor([[0.1, 0.5], [0.3, -0.1]]).view(1, 2, 1, 2)
    brighter = colour(images, torch.tensor([0.2]), torch.ones(1), torch.ones(1))
    assert brighter.flatten().tolist() == pytest.approx([0.3, 0.7, 0.5, 0.1])
    # The pixels' means over channels are 0.2 and 0.2; 3 times the differences from them.
    saturated = colour(images, torch.zeros(1), torch.tensor([3.0]), torch.ones(1))
    assert saturated.flatten().tolist() == pytest.approx([-0.1, 1.1, 0.5, -0.7])
    # The image's mean is 0.2; half the differences from it.
    flat = colour(images, torch.zeros(1), torch.ones(1), torch.tensor([0.5]))
    assert flat.flatten().tolist() == pytest.approx([0.15, 0.35, 0.25, 0.05])


@pytest.mark.parametrize("make", [DiffAugment, lambda: Ada(16, 8, p=0.7)])
def test_each_image_is_changed_by_numbers_of_its_own(make: Callable[[], DiffAugment | Ada]) -> None:
    images, all_of = random_images(6, 3, 16, 8), drawn(6, 21, 7).left
    together = make()(images, drawn(6, 21, 7).rows())
    for row in range(6):
        own = Given(all_of["uniform"][row : row + 1], all_of["normal"][row : row + 1])
        assert torch.allclose(make()(images[row : row + 1], own.rows())[0], together[row], atol=1e-5)


def test_the_ranges_of_diffaugment() -> None:
    """Zhao et al. 2020: translation within ± 1/8 of the side, cutouts of half the side around any place."""
    lowest, highest = torch.zeros(1, 7), torch.full((1, 7), 1 - 2**-24)
    images = torch.ones(1, 1, 16, 8)
    for uniform, brightness, contrast, down, right in ((lowest, -0.5, 0.5, -2, -1), (highest, 0.5, 1.5, 2, 1)):
        coloured = DiffAugment(["colour"])(images * torch.linspace(-1, 1, 8), Given(uniform).rows())
        assert float(coloured.mean()) == pytest.approx(brightness, abs=1e-6)
        assert float(coloured.max() - coloured.min()) == pytest.approx(2 * contrast, abs=1e-6)
        moved = DiffAugment(["translation"])(images, Given(uniform).rows())
        assert torch.equal(moved, translate(images, torch.tensor([down]), torch.tensor([right])))
        cut = DiffAugment(["cutout"])(images, Given(uniform).rows())
        inside = (slice(0, 4), slice(0, 2)) if uniform is lowest else (slice(12, 16), slice(6, 8))
        expected = images.clone()
        expected[0, 0, inside[0], inside[1]] = 0
        assert torch.equal(cut, expected)


def test_the_filter_is_an_orthogonal_wavelet_with_six_vanishing_moments() -> None:
    """Daubechies 1992, sections 6.4 and 8.1: what defines a filter of 12 taps, up to the choice of its roots."""
    h = np.array(SYM6)
    for shift in range(1, 6):
        assert h[2 * shift :] @ h[: -2 * shift] == pytest.approx(0, abs=1e-9)
    assert h @ h == pytest.approx(1, abs=1e-9)
    high = h * (-1.0) ** np.arange(12)
    for power in range(6):
        assert high @ np.arange(12.0) ** power / 12.0**power == pytest.approx(0, abs=1e-9)


def test_bilinear_sampling_against_torch() -> None:
    images = random_images(3, 2, 5, 7, dtype=torch.float64)
    generator = torch.Generator().manual_seed(3)
    x, y = (torch.rand(3, 40, generator=generator, dtype=torch.float64) * (side + 4) - 2.5 for side in (7, 5))
    grid = torch.stack([2 * x / 6 - 1, 2 * y / 4 - 1], -1).unsqueeze(1)
    expected = F.grid_sample(images, grid, align_corners=True, padding_mode="zeros").squeeze(2)
    assert torch.allclose(bilinear(images, x, y), expected, atol=1e-12)


def smooth(x: Tensor, y: Tensor) -> Tensor:
    """A function of the plane without symmetries: two hills. Widths of pixels are well below its own."""
    hill = torch.exp(-((x - 4) ** 2 + (y + 2) ** 2) / 40)
    return hill - 0.5 * torch.exp(-((x + 5) ** 2 + (y + 4) ** 2 / 2) / 30)


def pixels(height: int, width: int) -> tuple[Tensor, Tensor]:
    """Returns the positions of pixels, x and y, from the centre."""
    y, x = torch.meshgrid(torch.arange(float(height)), torch.arange(float(width)), indexing="ij")
    return x - (width - 1) / 2, y - (height - 1) / 2


@pytest.mark.parametrize(
    "inverse",
    [
        [[-1, 0, 0], [0, 1, 0]],
        [[0, -1, 0], [1, 0, 0]],
        [[1, 0, 2.25], [0, 1, -1.5]],
        [[1.25, 0, 0], [0, 0.8, 0]],
        [[math.cos(0.4), -math.sin(0.4), 1], [math.sin(0.4), math.cos(0.4), -2]],
    ],
    ids=["mirrored", "quarter turn", "translated", "scaled", "rotated"],
)
def test_transformations_of_the_plane_against_a_function_of_it(inverse: list[list[float]]) -> None:
    x, y = pixels(44, 40)
    image, matrix = smooth(x, y).view(1, 1, 44, 40), torch.tensor([*inverse, [0, 0, 1]], dtype=torch.float32)
    result = AffineResampler(44, 40)(image, matrix.unsqueeze(0))[0, 0]
    (xx, xy, xt), (yx, yy, yt) = inverse
    there = xx * x + xy * y + xt, yx * x + yy * y + yt
    near = (there[0].abs() < 17) & (there[1].abs() < 19)  # Beyond the edge, images are continued by reflection.
    assert near.sum() > 800
    assert float((result - smooth(*there))[near].abs().max()) < 0.02
    assert float((image[0, 0] - smooth(*there))[near].abs().max()) > 0.2


def test_beyond_their_edge_images_are_continued_by_reflection() -> None:
    images = random_images(1, 1, 8, 8)
    moved = AffineResampler(8, 8)(images, translation(torch.tensor([-3.0]), torch.tensor([4.0])))
    padded = F.pad(images, (7, 7, 7, 7), mode="reflect")
    assert torch.allclose(moved, padded[:, :, 11:19, 4:12], atol=1e-6)


def test_rotations_are_those_of_torchvision() -> None:
    # torchvision counts counter-clockwise as people see it, with y up.
    x, y = pixels(40, 40)
    image = smooth(x, y).view(1, 1, 40, 40)
    turned = AffineResampler(40, 40)(image, rotation(torch.tensor([0.5])))
    expected = TF.rotate(image, math.degrees(0.5), TF.InterpolationMode.BILINEAR)
    assert float((turned - expected)[..., 9:31, 9:31].abs().max()) < 0.02


def test_hue_saturation_and_luma_by_closed_forms() -> None:
    colours = torch.tensor([[0.9, -0.3, 0.2]]).mT

    def changed(along: float, across: float, angle: float) -> list[float]:
        matrix = about_grey(*(torch.tensor([value]) for value in (along, across, angle)))
        return (matrix[0, :3, :3] @ colours).flatten().tolist()

    # A third of a turn around the grey axis permutes red, green and blue.
    assert changed(1, 1, 2 * math.pi / 3) == pytest.approx([0.2, 0.9, -0.3])
    # Any other angle: the exponential of the axis's cross product matrix.
    axis = torch.tensor([[0.0, -1.0, 1.0], [1.0, 0.0, -1.0], [-1.0, 1.0, 0.0]]) / math.sqrt(3)
    assert changed(1, 1, 0.7) == pytest.approx((torch.matrix_exp(0.7 * axis) @ colours).flatten().tolist(), abs=1e-6)
    # The luma is the mean, 0.8 / 3: saturation scales what differs from it, a luma flip changes its sign.
    grey = 0.8 / 3
    assert changed(1, 2, 0) == pytest.approx([grey + 2 * (value - grey) for value in (0.9, -0.3, 0.2)], abs=1e-6)
    assert changed(-1, 1, 0) == pytest.approx([value - 2 * grey for value in (0.9, -0.3, 0.2)], abs=1e-6)


def test_a_grey_image_is_an_rgb_image_of_equal_channels() -> None:
    grey = random_images(6, 1, 5, 4)
    ada = Ada(5, 4, ["colour"], p=0.6)
    coloured = ada(grey.expand(-1, 3, -1, -1), drawn(6, 7, 3).rows())
    assert torch.allclose(ada(grey, drawn(6, 7, 3).rows()).expand(-1, 3, -1, -1), coloured, atol=1e-5)
    assert not torch.allclose(coloured[:, :1], grey, atol=0.1)


def composed(*steps: Sequence[Sequence[float]]) -> np.ndarray:
    """Returns the inverse of transformations that are applied one after another, from left to right."""
    total = np.eye(len(steps[0]))
    for step in steps:
        total = np.array(step) @ total
    return np.linalg.inv(total)


def test_the_order_and_ranges_of_ada_s_transformations() -> None:
    """Karras et al. 2020, appendix B, figure 19: each applied, with numbers at chosen places of their distributions."""
    # Mirrored, three quarter turns, moved by -0.75/8 and 0.5/8 of the side; 0.1 < p is drawn wherever p is asked.
    pixel = [0.6, 0.1, 0.8, 0.1, 0.125, 0.75, 0.1]
    # Scaled, rotated by 0.2 π, then stretched and rotated by -0.5 π, moved.
    geometric = [0.1, 0.6, 0.1, 0.25, 0.1, 0.1, 0.1]
    normal = [[1.5, -0.5, 0.3, -0.2]]
    given = Given(torch.tensor([pixel + geometric]), torch.tensor(normal))
    inverse = Ada(16, 32, p=1.0)._inverse(torch.zeros(1, 3, 16, 32), given.rows())[0]
    scale, stretch = 2 ** (0.2 * 1.5), 2 ** (0.2 * -0.5)

    def turned(angle: float) -> list[list[float]]:
        return [[math.cos(angle), -math.sin(angle), 0], [math.sin(angle), math.cos(angle), 0], [0, 0, 1]]

    def moved(x: float, y: float) -> list[list[float]]:
        return [[1, 0, x], [0, 1, y], [0, 0, 1]]

    scaled = [[scale, 0, 0], [0, scale, 0], [0, 0, 1]]
    stretched = [[stretch, 0, 0], [0, 1 / stretch, 0], [0, 0, 1]]
    expected = composed(
        *([[-1, 0, 0], [0, 1, 0], [0, 0, 1]], turned(-1.5 * math.pi), moved(-3, 1)),
        *(scaled, turned(-0.2 * math.pi), stretched, turned(0.5 * math.pi), moved(0.3 * 4, -0.2 * 2)),
    )
    assert inverse.numpy() == pytest.approx(expected, abs=1e-5)


def test_ada_s_colours_in_order() -> None:
    # Brightness 0.3 · 0.2, contrast 2^(0.5 · -1), flipped, hue by 0.5 π, saturation 2^0.7.
    given = Given(torch.tensor([[0.1, 0.1, 0.6, 0.1, 0.75, 0.1, 0.1]]), torch.tensor([[0.3, -1.0, 0.7]]))
    image = torch.tensor([0.2, -0.6, 0.1]).view(1, 3, 1, 1)
    result = Ada(1, 1, ["colour"], p=1.0)(image, given.rows()).flatten().tolist()
    one = [torch.ones(1), torch.ones(1), torch.zeros(1)]
    matrices = [about_grey(one[0], torch.tensor([2**0.7]), one[2]), about_grey(*one[:2], torch.tensor([math.pi / 2]))]
    matrices += [about_grey(-one[0], *one[1:]), torch.diag(torch.tensor([*[2**-0.5] * 3, 1.0])).unsqueeze(0)]
    expected = product(*matrices, shift_of_colours(torch.tensor([0.06]))) @ torch.tensor([0.2, -0.6, 0.1, 1.0])
    assert result == pytest.approx(expected[0, :3].tolist(), abs=1e-6)


def assert_share(changed: Tensor, expected: float) -> None:
    """Checks the share of True within four standard deviations."""
    deviation = math.sqrt(expected * (1 - expected) / len(changed))
    assert float(changed.float().mean()) == pytest.approx(expected, abs=4 * deviation)


def test_each_operation_is_applied_with_probability_p() -> None:
    count, p = 4000, 0.3
    images = torch.full((count, 1, 64, 64), 0.5)
    # Brightness, contrast, and a luma flip in half of its cases; hue and saturation leave grey as it is.
    coloured = Ada(2, 2, ["colour"], p=p)(images[:, :, :2, :2], drawn(count, 7, 3).rows())
    assert_share((coloured - 0.5).abs().amax((1, 2, 3)) > 1e-6, 1 - (1 - p) * (1 - p) * (1 - p / 2))
    moves = {
        kind: Ada(64, 64, [kind], p=p)._inverse(images, drawn(count, 7, 4).rows()) for kind in ("pixel", "geometric")
    }
    changed = {kind: (matrix - torch.eye(3)).abs().amax((1, 2)) > 1e-6 for kind, matrix in moves.items()}
    # Scale, rotation before or after the other scale, this one, and translation.
    assert_share(changed["geometric"], 1 - (1 - p) ** 4)
    # Half of the mirrorings, three of four turns, and all translations but 1 in 16² of up to ± 8 pixels.
    assert_share(changed["pixel"], 1 - (1 - p / 2) * (1 - p * 3 / 4) * (1 - p * (1 - 1 / 16**2)))


@pytest.mark.parametrize(
    ("name", "share"),
    [
        *(("xflip", 0.5), ("rotate90", 0.75), ("xint", 1 - 1 / 16**2)),
        *(("scale", 1.0), ("rotate", 1.0), ("aniso", 1.0), ("xfrac", 1.0)),
        *(("brightness", 1.0), ("contrast", 1.0), ("lumaflip", 0.5), ("hue", 1.0), ("saturation", 1.0)),
    ],
)
def test_a_single_operation_can_be_selected(name: str, share: float) -> None:
    count, p = 2000, 0.4
    side = 2 if name in GROUPS["colour"] else 64
    ada, images = Ada(side, side, [name], p=p), torch.tensor([0.5, -0.3, 0.1]).view(1, 3, 1, 1)
    images = images.expand(count, 3, side, side)
    if side == 2:
        changed = (ada(images, drawn(count, 7, 3).rows()) - images).abs().amax((1, 2, 3)) > 1e-6
    else:
        changed = (ada._inverse(images, drawn(count, 7, 4).rows()) - torch.eye(3)).abs().amax((1, 2)) > 1e-6
    assert_share(changed, share * p)


@pytest.mark.parametrize("group", GROUPS)
def test_a_group_is_all_of_its_operations(group: str) -> None:
    images = random_images(50, 3, 16, 16)
    whole, parts = (
        Ada(16, 16, names, p=0.5)(images, drawn(50, 7, 4).rows()) for names in ([group], GROUPS[group][::-1])
    )
    assert torch.equal(whole, parts)


@pytest.mark.parametrize("make", [lambda: DiffAugment(), lambda: Ada(4, 3, p=1.0)], ids=["diffaug", "ada"])
def test_augmentation_is_twice_differentiable(make: Callable[[], DiffAugment | Ada]) -> None:
    augmentation = make()
    images = random_images(1, 3, 4, 3, dtype=torch.float64).requires_grad_()

    def of(images: Tensor) -> Tensor:
        # The square makes the second derivative differ from 0; augmentation itself is linear in the pixels.
        return augmentation(images, drawn(1, 21, 7, torch.float64).rows()).square()

    assert torch.autograd.gradcheck(of, [images])
    assert torch.autograd.gradgradcheck(of, [images])
