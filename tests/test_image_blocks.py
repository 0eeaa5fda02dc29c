"""The blocks of image-to-image variants: PatchGAN, the ResNet generator, and the image pool."""

import pytest
import torch

from gan_core import PatchDiscriminator
from gan_core.blocks.patchgan import patch_map, receptive_field
from gan_core.cli.tables.plan import parameters


def test_patchgan_has_the_parameters_of_its_layer_list() -> None:
    # C64-C128-C256-C512 and a convolution to one channel, 4 x 4: weights and biases.
    counts = [16 * 3 * 64 + 64, 16 * 64 * 128 + 128, 16 * 128 * 256 + 256, 16 * 256 * 512 + 512, 16 * 512 + 1]
    assert parameters(PatchDiscriminator(3)) == sum(counts) == 2_764_737
    # Batch normalisation, of an image beside its condition: a scale and a shift instead of a bias.
    assert parameters(PatchDiscriminator(6, norm="batch")) == 2_764_737 + 16 * 3 * 64 + 128 + 256 + 512 == 2_768_705


@pytest.mark.parametrize(("layers", "side"), [(1, 16), (2, 34), (3, 70), (5, 286)])
def test_a_logit_depends_on_exactly_one_patch(layers: int, side: int) -> None:
    # With layers=3: 4 = 1 + 3, 7 = 4 + 3, 16 = 2 · 7 + 2, 34 = 2 · 16 + 2, 70 = 2 · 34 + 2.
    assert receptive_field(layers) == side
    network = PatchDiscriminator(1, width=1, layers=layers, norm="none").double()
    for parameter in network.parameters():
        torch.nn.init.constant_(parameter, 1.0)
    image = torch.ones(1, 1, 2 * side, 2 * side, dtype=torch.float64, requires_grad=True)
    logits = network(image)
    middle = logits.shape[2] // 2
    (gradient,) = torch.autograd.grad(logits[0, 0, middle, middle], image)
    rows, columns = gradient[0, 0].nonzero(as_tuple=True)
    assert (int(rows.max() - rows.min()) + 1, int(columns.max() - columns.min()) + 1) == (side, side)


@pytest.mark.parametrize(
    ("height", "width", "layers", "expected"),
    [(256, 256, 3, (30, 30)), (128, 128, 3, (14, 14)), (24, 31, 3, (1, 1)), (6, 9, 1, (1, 2)), (40, 64, 2, (8, 14))],
)
@pytest.mark.parametrize("norm", ["instance", "batch", "none"])
def test_the_size_of_the_map(height: int, width: int, layers: int, expected: tuple[int, int], norm: str) -> None:
    # The 30 x 30 of 256 pixels is the original implementation's.
    assert patch_map(height, width, layers) == expected
    network = PatchDiscriminator(2, width=2, layers=layers, norm=norm)  # type: ignore[arg-type]
    assert network(torch.randn(2, 2, height, width)).shape == (2, 1, *expected)


def test_images_below_the_least_size_are_refused() -> None:
    with pytest.raises(ValueError, match=r"images of 32 x 23 are too small.*at least 24 pixels"):
        patch_map(23, 32, 3)
    with pytest.raises(RuntimeError, match="Kernel size can't be greater"):
        PatchDiscriminator(1, width=2, norm="none")(torch.zeros(1, 1, 23, 32))


def test_patchgan_starts_from_normal_weights() -> None:
    network = PatchDiscriminator(3)
    weights = torch.cat([p.detach().flatten() for name, p in network.named_parameters() if name.endswith("weight")])
    assert float(weights.std()) == pytest.approx(0.02, rel=1e-2)
    assert float(weights.mean()) == pytest.approx(0.0, abs=1e-4)
    assert all(not p.detach().any() for name, p in network.named_parameters() if name.endswith("bias"))
