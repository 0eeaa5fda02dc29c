"""The blocks of R3GAN and StyleGAN2, against closed forms, scipy, and formulas written out for each image."""

import math
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any

import numpy as np
import pytest
import torch
from scipy import signal, stats
from torch import Tensor, nn

from gan_core import (
    EqualisedConv2d,
    EqualisedLinear,
    MinibatchStd,
    ModulatedConv2d,
    Moment,
    PathLength,
    StyledConv2d,
    blur,
    cosine,
    doubled_sides,
    downsample,
    fixup,
    msr,
    scaled_leaky_relu,
    upsample,
)
from gan_core.blocks import fir
from gan_core.blocks.fixup import LEAKY_GAIN
from gan_core.blocks.noise import Noise
from gan_core.blocks.path_length import path_lengths
from gan_core.randomness import Streams
from gan_core.row_randomness import Draws, LayerRandomness, layers_draw
from gan_core.testing import made_batch

ONE = torch.tensor([1.0, 3.0, 3.0, 1.0], dtype=torch.float64) / 8


@pytest.fixture(params=[fir.MOST, 0], ids=["matrices", "convolutions"])
def either_way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fir, "MOST", request.param)


def by_scipy(x: Tensor, up: int, down: int, first: int, count: tuple[int, int]) -> Tensor:
    """Filters each map with scipy's upfirdn along both axes; the results from number `first` on."""
    y = x.numpy()
    for axis, number in zip((2, 3), count, strict=True):
        filtered = signal.upfirdn(up * ONE.numpy(), y, up=up, axis=axis)  # What precedes the first pixel is zero.
        y = np.take(filtered, [first + down * at for at in range(number)], axis=axis)
    return torch.from_numpy(y)


@pytest.mark.usefixtures("either_way")
def test_resampling_is_that_of_scipy() -> None:
    x = torch.randn(2, 3, 6, 10, dtype=torch.float64)
    torch.testing.assert_close(upsample(x), by_scipy(x, 2, 1, 1, (12, 20)))
    torch.testing.assert_close(downsample(x), by_scipy(x, 1, 2, 2, (3, 5)))
    torch.testing.assert_close(blur(x, 2), by_scipy(x, 1, 1, 1, (7, 11)))


@pytest.mark.usefixtures("either_way")
def test_resampling_keeps_a_constant_and_is_bilinear_inside() -> None:
    inside = (..., slice(1, -1), slice(1, -1))
    ones = torch.ones(1, 1, 8, 8)
    torch.testing.assert_close(upsample(ones)[inside], torch.ones(1, 1, 14, 14))
    torch.testing.assert_close(downsample(ones)[inside], torch.ones(1, 1, 2, 2))
    x = torch.randn(1, 2, 5, 5)
    bilinear = nn.functional.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)
    torch.testing.assert_close(upsample(x)[inside], bilinear[inside])
    # [1, 2, 1] after nearest neighbours, which is what R3GAN calls its filter.
    nearest = nn.functional.interpolate(x, scale_factor=2, mode="nearest")
    taps = torch.outer(*2 * (torch.tensor([1.0, 2.0, 1.0]) / 4,)).view(1, 1, 3, 3).expand(2, 1, 3, 3)
    torch.testing.assert_close(upsample(x), nn.functional.conv2d(nearest, taps, padding=1, groups=2))


@pytest.mark.usefixtures("either_way")
def test_resampling_can_be_differentiated_twice() -> None:
    x = torch.randn(1, 2, 4, 4, dtype=torch.float64, requires_grad=True)
    for resample in (upsample, downsample, lambda x: blur(x, 1)):
        assert torch.autograd.gradgradcheck(lambda x, f=resample: f(x).square(), x)


def test_equalised_layers() -> None:
    torch.manual_seed(0)
    dense = EqualisedLinear(300, 200, bias=2.0, lr_multiplier=0.01)
    assert float(dense.weight.detach().std()) == pytest.approx(100, rel=0.02)
    # Karras et al. 2019, appendix C: w and b are what the layer multiplies with the rate of learning, 0.01.
    x = torch.randn(7, 300)
    expected = x @ (0.01 * dense.weight / math.sqrt(300)).T + 0.01 * dense.bias
    torch.testing.assert_close(dense(x), expected)
    assert float(dense(torch.zeros(1, 300)).detach().mean()) == pytest.approx(2.0)
    assert EqualisedLinear(3, 2, bias=None).bias is None
    convolution = EqualisedConv2d(20, 30, 3, stride=2, padding=1)
    assert float(convolution.weight.detach().std()) == pytest.approx(1, rel=0.02)
    assert not convolution.bias.detach().any()
    nn.init.normal_(convolution.bias)
    x = torch.randn(2, 20, 8, 8)
    weight = convolution.weight / math.sqrt(20 * 9)
    expected = nn.functional.conv2d(x, weight, convolution.bias, stride=2, padding=1)
    torch.testing.assert_close(convolution(x), expected, rtol=1e-4, atol=1e-5)


def test_the_activation_keeps_the_mean_square() -> None:
    x = torch.randn(100_000)
    # Half of the values are multiplied by √2, the others by 0.2 √2: (1 + 0.2²) / 2 · 2.
    assert float(scaled_leaky_relu(x).square().mean()) == pytest.approx(1.04, rel=0.02)


@pytest.mark.parametrize(("kernel", "up"), [(3, False), (1, False), (3, True)])
@pytest.mark.parametrize("demodulate", [True, False])
def test_modulated_convolutions_are_those_of_each_image(kernel: int, up: bool, demodulate: bool) -> None:
    layer = ModulatedConv2d(4, 5, kernel, 6, up=up, demodulate=demodulate).double()
    nn.init.normal_(layer.bias)
    x, w = torch.randn(3, 4, 8, 8, dtype=torch.float64), torch.randn(3, 6, dtype=torch.float64)
    styles = w @ layer.affine.weight.T / math.sqrt(6) + layer.affine.bias
    weight = layer.convolution.weight.transpose(0, 1) if up else layer.convolution.weight
    for image, style, result in zip(x, styles, layer(x, w), strict=True):
        modulated = style.view(1, -1, 1, 1) * weight  # Equation 1.
        if demodulate:  # Equation 3.
            modulated = modulated / torch.sqrt(modulated.square().sum((1, 2, 3), keepdim=True) + 1e-8)
        else:
            modulated = modulated / math.sqrt(4 * kernel**2)
        if up:  # Zeros between the pixels, the filter, and a true convolution, which flips its kernel.
            apart = torch.zeros(1, 4, 16, 16, dtype=torch.float64)
            apart[..., ::2, ::2] = image
            taps = 4 * torch.outer(ONE, ONE).expand(4, 1, 4, 4)
            smooth = nn.functional.conv2d(nn.functional.pad(apart, (3, 2, 3, 2)), taps, groups=4)
            expected = nn.functional.conv2d(smooth, modulated.flip(2, 3))
        else:
            expected = nn.functional.conv2d(image[None], modulated, padding=kernel // 2)
        torch.testing.assert_close(result, expected[0] + layer.bias[:, None, None])


def test_a_demodulated_layer_keeps_the_size_of_its_input_for_any_style() -> None:
    torch.manual_seed(0)
    layer = ModulatedConv2d(64, 64, 3, 8)
    for size in (1.0, 100.0):
        y = layer(torch.randn(4, 64, 16, 16), size * torch.randn(4, 8))[..., 1:-1, 1:-1]
        assert float(y.detach().std()) == pytest.approx(1, rel=0.1)


def test_a_styled_layer_adds_noise_before_its_activation() -> None:
    layer = StyledConv2d(3, 5, 4)
    nn.init.constant_(layer.noise.strength, 2.0)
    x, w = torch.randn(2, 3, 8, 8), torch.randn(2, 4)
    torch.manual_seed(5)
    y = layer(x, w)
    torch.manual_seed(5)
    expected = scaled_leaky_relu(layer.convolution(x, w) + 2 * torch.randn(2, 1, 8, 8))
    torch.testing.assert_close(y, expected)
    torch.testing.assert_close(layer(x, w, noise=False), scaled_leaky_relu(layer.convolution(x, w)))


def drawn(seed: int, rows: slice, x: Tensor) -> Tensor:
    """The noise of two layers for some rows, (rows, 2, H, W)."""
    layers = [Noise().requires_grad_(False), Noise().requires_grad_(False)]
    for layer in layers:
        layer.strength.fill_(1.0)
    with layers_draw(LayerRandomness(Draws(Streams(seed), "layers", 3, rows))):
        return torch.cat([layer(x[rows]) for layer in layers], 1)


def test_noise_is_normal_and_the_same_for_each_row_on_any_process() -> None:
    x = torch.zeros(8, 1, 50, 50, dtype=torch.float64)
    whole = drawn(0, slice(0, 8), x)
    parts = torch.cat([drawn(0, slice(first, first + 2), x) for first in range(0, 8, 2)])
    assert torch.equal(whole, parts)
    assert not torch.equal(whole, drawn(1, slice(0, 8), x))
    assert whole.flatten().unique().numel() > 0.99 * whole.numel()
    assert stats.kstest(whole.flatten().numpy(), "norm").pvalue > 0.01
    assert abs(float(torch.corrcoef(whole.permute(1, 0, 2, 3).flatten(1))[0, 1])) < 0.03  # Two layers.
    maps = Noise()(torch.zeros(2, 7, 4, 4))
    assert not maps.any()  # Strengths begin at 0.


class Threads:
    """The `Processes` of `world` threads, which exchange tensors with their graphs: exact in every derivative."""

    def __init__(self, rank: int, world: int, slots: list[Any], barrier: Barrier) -> None:
        self.rank, self.world, self.slots, self.barrier = rank, world, slots, barrier

    def gather(self, rows: Tensor) -> Tensor:
        self.slots[self.rank] = rows
        self.barrier.wait()
        found = torch.cat(self.slots)
        self.barrier.wait()
        return found

    def share(self, rows: Tensor) -> Tensor:
        return rows.chunk(self.world)[self.rank]

    def mean(self, value: Tensor) -> Tensor:
        raise NotImplementedError


def on_processes(world: int, x: Tensor, call: Callable[[Tensor, Threads], Tensor]) -> Tensor:
    slots, barrier = [None] * world, Barrier(world)
    with ThreadPoolExecutor(world) as pool:
        parts = [
            pool.submit(call, part, Threads(rank, world, slots, barrier)) for rank, part in enumerate(x.chunk(world))
        ]
        return torch.cat([part.result(timeout=30) for part in parts])


def by_hand(x: Tensor, group: int) -> list[float]:
    """The deviation of each group: of every feature and pixel over its images, then the mean."""
    return [
        float(np.sqrt(np.var(images.numpy(), axis=0) + 1e-8).mean()) for images in x.split(group) for _ in range(group)
    ]


@pytest.mark.parametrize(("rows", "size", "group"), [(8, 4, 4), (8, 8, 8), (6, 4, 3), (12, 5, 4), (2, 4, 2), (7, 4, 1)])
def test_the_minibatch_deviation_of_groups(rows: int, size: int, group: int) -> None:
    x = torch.randn(rows, 3, 2, 2, dtype=torch.float64)
    y = MinibatchStd(size)(x)
    assert y.shape == (rows, 4, 2, 2)
    assert torch.equal(y[:, :3], x)
    assert y[:, 3, 0, 0].tolist() == pytest.approx(by_hand(x, group))
    assert torch.equal(y[:, 3], y[:, 3, :1, :1].expand(-1, 2, 2))


@pytest.mark.parametrize("world", [2, 4])
@pytest.mark.parametrize("size", [2, 4, 8])
def test_the_minibatch_deviation_is_the_same_on_any_number_of_processes(world: int, size: int) -> None:
    x, layer = torch.randn(8, 3, 2, 2, dtype=torch.float64, requires_grad=True), MinibatchStd(size)
    alone, together = layer(x), on_processes(world, x, layer)
    torch.testing.assert_close(together, alone)
    weights = torch.randn_like(alone)
    one, other = (torch.autograd.grad((y * weights).sum(), x)[0] for y in (alone, together))
    torch.testing.assert_close(one, other)


def test_path_lengths_are_those_of_the_jacobian() -> None:
    torch.manual_seed(0)
    matrix = torch.randn(2 * 6, 3 * 4 * 4, dtype=torch.float64)

    def images_of(ws: Tensor) -> Tensor:
        return (ws.flatten(1) @ matrix).tanh().view(-1, 3, 4, 4)

    ws = torch.randn(5, 2, 6, dtype=torch.float64, requires_grad=True)
    y = torch.randn(5, 3, 4, 4, dtype=torch.float64)
    lengths = path_lengths(images_of(ws), ws, y)
    for row in range(5):
        jacobian = torch.autograd.functional.jacobian(lambda w: images_of(w[None])[0].flatten(), ws[row].detach())
        back = torch.einsum("plk,p->lk", jacobian, y[row].flatten()) / 4  # The root of 4 x 4 pixels.
        assert float(lengths[row].detach()) == pytest.approx(math.sqrt(float(back.square().sum(1).mean())))


def test_the_path_penalty_follows_the_mean_length() -> None:
    class Ones:
        def normal(self, *shape: int) -> Tensor:
            return torch.ones(2, *shape, dtype=torch.float64)

    path = PathLength(3.0)
    batch = made_batch({"images": torch.zeros(2, 1, 1, 1)}, {}, random=Ones())  # type: ignore[arg-type]
    ws = torch.tensor([[[1.0]], [[2.0]]], dtype=torch.float64, requires_grad=True)
    for mean in (0.0, 0.03):
        terms = path(ws.pow(2).view(2, 1, 1, 1), ws, batch)  # Lengths |2 w|: 2 and 4.
        assert float(terms["length"]) == 3.0
        a = 0.99 * mean + 0.01 * 3.0
        assert float(terms["penalty"].detach()) == pytest.approx(3 * ((2 - a) ** 2 + (4 - a) ** 2) / 2)
        path.follow({}, {"length": torch.tensor(3.0)}, batch)
        assert float(path.mean) == pytest.approx(a)
    assert float(torch.autograd.grad(terms["penalty"], ws)[0].abs().min()) > 0
    assert not terms["length"].requires_grad


def test_initial_weights() -> None:
    torch.manual_seed(0)
    dense, grouped = msr(nn.Linear(400, 300), gain=3.0), msr(nn.Conv2d(64, 128, 3, groups=8, bias=False))
    assert float(dense.weight.detach().std()) == pytest.approx(3 / 20, rel=0.01)
    assert not dense.bias.detach().any()
    assert float(grouped.weight.detach().std()) == pytest.approx(1 / math.sqrt(8 * 9), rel=0.02)
    assert float(grouped(torch.randn(8, 64, 16, 16))[..., 1:-1, 1:-1].detach().std()) == pytest.approx(1, rel=0.03)
    layers = [nn.Linear(200, 200) for _ in range(3)]
    fixup(layers, blocks=16)
    # L^(-1 / (2m - 2)) for m = 3: 16^(-1/4) = 1/2.
    assert [float(layer.weight.detach().std()) * math.sqrt(200) / LEAKY_GAIN for layer in layers[:2]] == pytest.approx(
        [0.5, 0.5], rel=0.02
    )
    assert not layers[2].weight.detach().any()
    y = nn.functional.leaky_relu(torch.randn(100_000), 0.2)
    assert LEAKY_GAIN * float(y.square().mean().sqrt()) == pytest.approx(1, rel=0.01)


def test_a_cosine_schedule() -> None:
    value = cosine(2.0, 1.0, 1000)
    at = [value(Moment(images_seen=seen, progress=0.0, batch=1)) for seen in (0, 250, 500, 1000, 5000)]
    assert at == pytest.approx([2.0, 1.5 + math.sqrt(0.125), 1.5, 1.0, 1.0])


@pytest.mark.parametrize(("size", "other"), [(28, 32), (4, 8), (5, 8), (48, 64), (100, 128)])
def test_a_size_that_is_no_power_of_two_is_refused(size: int, other: int) -> None:
    with pytest.raises(ValueError, match=rf"image size {size} does not fit X, .* power of two.*--image-size {other}$"):
        doubled_sides(size, "X")
    assert doubled_sides(other, "X")[-1] == other


def test_sides() -> None:
    assert doubled_sides(8, "X") == [4, 8]
    assert doubled_sides(64, "X") == [4, 8, 16, 32, 64]
