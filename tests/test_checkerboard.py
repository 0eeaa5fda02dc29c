"""Resize-convolutions, which draw no pattern of dots; and the measure of it, against closed forms."""

import pytest
import torch
import torch.nn.functional as F
from gan_core_acgan import AcganOptions, build
from gan_core_shapes import draw as draw_shapes
from torch import Tensor, nn

from gan_core import DataSpec, build_layers
from tests.checkerboard import dot_energy

SHAPES = DataSpec.of_images(name="shapes", image_size=32, channels=3, classes=3, count=3000)
TRANSPOSED = [
    "batch_norm",
    {"conv_transpose": {"channels": 64, "kernel": 4, "stride": 2, "bias": False}},
    *("batch_norm", "relu"),
    {"conv_transpose": {"channels": 3, "kernel": 4, "stride": 2}},
    "tanh",
]


def test_the_measure_of_known_patterns() -> None:
    x, y = torch.meshgrid(torch.arange(8), torch.arange(6), indexing="xy")
    dots = ((-1.0) ** (x + y)).expand(2, 3, -1, -1)
    # |Σ 1|² / 48 = 48; an amplitude of 0.1 has a hundredth of it.
    assert dot_energy(dots) == pytest.approx(48)
    assert dot_energy(0.1 * dots + 0.5) == pytest.approx(0.48)
    assert dot_energy(((dots + 1) * 127.5).to(torch.uint8)) == pytest.approx(48)
    for flat in ((-1.0) ** x, (-1.0) ** y, torch.sin(torch.pi / 2 * x)):
        assert dot_energy(flat.expand(1, 1, -1, -1)) == pytest.approx(0, abs=1e-9)
    # The two-dimensional Fourier transform of torch.
    noise = torch.randn(2, 3, 6, 8)
    assert dot_energy(noise) == pytest.approx(float(torch.fft.fft2(noise)[..., 3, 4].abs().square().mean()) / 48)


def inside(network: nn.Module, layers: int, maps: Tensor) -> Tensor:
    """Returns the pixels of one image that no layer's padding has reached."""
    with torch.no_grad():
        images: Tensor = network(maps)
    return images[:, :, 2 * layers : -2 * layers, 2 * layers : -2 * layers]


@pytest.mark.parametrize("mode", ["nearest", "bilinear"])
def test_resize_convolution_of_a_flat_map_is_flat(mode: str) -> None:
    torch.manual_seed(0)
    flat = torch.randn(1, 5, 1, 1).expand(-1, -1, 12, 12)
    network, shape = build_layers([{"upsample": [2, mode]}, {"conv": [4, 3]}, "relu"], (5, 12, 12), "torch")
    assert shape == (4, 24, 24)
    assert float(inside(network, 1, flat).std((2, 3)).max()) < 1e-6
    transposed, _ = build_layers([{"conv_transpose": [4, 4, 2]}], (5, 12, 12), "torch")
    assert float(inside(transposed, 1, flat).std((2, 3)).min()) > 0.01


def test_upsampling_against_torch() -> None:
    maps = torch.randn(2, 3, 5, 4)
    for mode in ("nearest", "bilinear"):
        network, shape = build_layers([{"upsample": {"factor": 3, "mode": mode}}], (3, 5, 4), "torch")
        assert shape == (3, 15, 12)
        assert torch.equal(network(maps), F.interpolate(maps, scale_factor=3, mode=mode))
    with pytest.raises(ValueError, match="upsample: mode: Input should be 'nearest' or 'bilinear'"):
        build_layers([{"upsample": [2, "cubic"]}], (3, 5, 4), "torch")


def drawn_by(options: AcganOptions) -> Tensor:
    """Returns images of an untrained generator, drawn in training mode, as batch normalisation needs it."""
    torch.manual_seed(1)
    generator = build(options, SHAPES).networks["generator"]
    with torch.no_grad():
        images: Tensor = generator(z=torch.randn(64, 100), labels=torch.arange(64) % 3)
    return images / images.std()


def test_acgan_s_default_generator_draws_no_dots() -> None:
    transposed, default = (dot_energy(drawn_by(AcganOptions(generator=layers))) for layers in (TRANSPOSED, None))
    assert dot_energy(draw_shapes(64, seed=1)[0]) < 0.1  # Of real images.
    assert default < 0.2
    assert transposed > 50
