"""Convolutions of small maps: equal to torch's with gradients of two orders, and torch's own for other shapes."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode

from gan_core.blocks import small_map_convolution
from gan_core.blocks.layer_list import build_layers
from gan_core.blocks.small_map_convolution import Conv2d, ConvTranspose2d
from gan_core.precision import arithmetic

CALLS = ("conv2d", "conv_transpose2d")
"""torch's own convolutions."""

TUTORIALS = [
    # kind, channels, channels, kernel, stride, side: the layers of the tutorials that are not torch's own.
    ("conv_transpose", 512, 128, 5, 1, 7),
    ("conv_transpose", 128, 64, 5, 2, 7),
    ("conv_transpose", 64, 1, 5, 2, 14),
    ("conv", 1, 64, 5, 2, 28),
    ("conv", 64, 128, 5, 2, 14),
    ("conv_transpose", 385, 192, 5, 2, 7),
    ("conv_transpose", 192, 1, 5, 2, 14),
    ("conv", 1, 32, 3, 2, 28),
    ("conv", 128, 256, 3, 1, 7),
]
SHAPES = [
    # kind, kernel, stride, padding, (height, width), further padding or crop
    ("conv", 3, 1, 1, (7, 7), (0, 0, 0, 0)),
    ("conv", 5, 2, 0, (9, 6), (1, 2, 1, 2)),
    ("conv", 4, 2, 1, (7, 8), (0, 0, 0, 0)),
    ("conv", 3, 2, 0, (4, 5), (0, 1, 0, 1)),
    ("conv", 2, 3, 0, (7, 8), (0, 0, 0, 0)),
    ("conv", 5, 3, 4, (5, 7), (0, 0, 0, 0)),
    ("conv", 4, 1, 0, (6, 4), (0, 0, 0, 0)),
    ("conv", 4, 1, 0, (4, 4), (0, 0, 0, 0)),
    ("conv_transpose", 5, 2, 1, (4, 3), 1),
    ("conv_transpose", 4, 2, 1, (3, 4), 0),
    ("conv_transpose", 5, 1, 2, (5, 7), 0),
    ("conv_transpose", 2, 3, 0, (3, 2), 0),
    ("conv_transpose", 3, 3, 2, (3, 4), 1),
    ("conv_transpose", 4, 1, 0, (1, 1), 0),
]


def reference(module: nn.Module, x: Tensor, weight: Tensor) -> Tensor:
    """Returns torch's result."""
    if isinstance(module, ConvTranspose2d):
        y = F.conv_transpose2d(x, weight, module.bias, module.stride, module.padding, module.output_padding)
        return y[:, :, : y.shape[2] - module.crop, : y.shape[3] - module.crop]
    assert isinstance(module, Conv2d)
    return F.conv2d(F.pad(x, module.pads), weight, module.bias, module.stride, module.padding)


def own(module: nn.Module, x: Tensor, weight: Tensor) -> Tensor:
    """Returns the module's result, with `weight` for its own."""
    y: Tensor = torch.func.functional_call(module, {"weight": weight}, (x,))
    return y


@pytest.fixture
def torchs_own(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of torch's convolutions that were called."""
    called: list[str] = []
    for name in CALLS:
        real = getattr(F, name)
        monkeypatch.setattr(F, name, lambda *args, real=real, name=name, **kw: called.append(name) or real(*args, **kw))
    return called


@pytest.mark.parametrize(("kind", "before", "after", "kernel", "stride", "side"), TUTORIALS)
def test_the_tutorials_layers_equal_torch_s_in_float32(
    kind: str, before: int, after: int, kernel: int, stride: int, side: int, torchs_own: list[str]
) -> None:
    torch.manual_seed(0)
    layer = {kind: {"channels": after, "kernel": kernel, "stride": stride}}
    layers, _ = build_layers([layer], (before, side, side), "torch")
    module = next(m for m in layers.modules() if isinstance(m, Conv2d | ConvTranspose2d))
    x = torch.randn(64, before, side, side, requires_grad=True)
    torchs_own.clear()  # The layers were tried on a single image.
    mine = own(module, x, module.weight)
    assert torchs_own == []
    theirs = reference(module, x, module.weight)
    upstream = torch.randn_like(theirs)
    for a, b in zip(
        (mine, *torch.autograd.grad(mine, (x, module.weight, module.bias), upstream)),
        (theirs, *torch.autograd.grad(theirs, (x, module.weight, module.bias), upstream)),
        strict=True,
    ):
        assert a.shape == b.shape
        assert float((a - b).detach().norm() / b.detach().norm()) < 1e-5
        assert float((a - b).detach().abs().max() / b.detach().abs().max()) < 1e-5


@pytest.mark.parametrize(("kind", "kernel", "stride", "padding", "sides", "more"), SHAPES)
@pytest.mark.parametrize(("channels", "few"), [((2, 3), 0), ((2, 3), 1e9), ((1, 30), 0), ((30, 1), 0)])
def test_every_shape_equals_torch_s_with_gradients_of_two_orders_in_float64(
    kind: str,
    kernel: int,
    stride: int,
    padding: int,
    sides: tuple[int, int],
    more: int | tuple[int, int, int, int],
    channels: tuple[int, int],
    few: float,
    torchs_own: list[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(small_map_convolution, "FEW", few)
    monkeypatch.setattr(small_map_convolution, "BOUND", 1e9)
    monkeypatch.setattr(small_map_convolution, "PIECE", 2000)
    torch.manual_seed(0)
    module = (Conv2d if kind == "conv" else ConvTranspose2d)(*channels, kernel, stride, padding).double()
    setattr(module, "pads" if kind == "conv" else "crop", more)
    x = torch.randn(2, channels[0], *sides, dtype=torch.float64, requires_grad=True)

    def derivatives(convolution: object) -> list[Tensor]:
        y = convolution(module, x, module.weight)  # type: ignore[operator]
        first = torch.autograd.grad(y.sin().sum(), (x, module.weight, module.bias), create_graph=True)
        second = torch.autograd.grad(sum(g.square().sum() for g in first), (x, module.weight, module.bias))
        return [y, *first, *second]

    mine = derivatives(own)
    assert torchs_own == []
    for a, b in zip(mine, derivatives(reference), strict=True):
        assert a.shape == b.shape
        assert float((a - b).detach().abs().max()) < 1e-11 * max(1.0, float(b.detach().abs().max()))


@pytest.mark.parametrize("few", [0, 2**20])
@pytest.mark.parametrize("kind", [Conv2d, ConvTranspose2d])
def test_the_weight_is_asked_for_once(kind: type[nn.Module], few: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Spectral normalisation changes its vectors each time, so the algorithm would change the network."""
    monkeypatch.setattr(small_map_convolution, "FEW", few)
    module = kind(2, 3, 3)
    asked: list[int] = []

    class Counted(nn.Module):
        def forward(self, weight: Tensor) -> Tensor:
            asked.append(1)
            return weight.clone()

    torch.nn.utils.parametrize.register_parametrization(module, "weight", Counted())
    asked.clear()
    module(torch.zeros(1, 2, 5, 5))
    assert len(asked) == 1


def across(tensor: Tensor) -> Tensor:
    """Returns the same values, stored with rows and columns exchanged."""
    return tensor.transpose(2, 3).contiguous().transpose(2, 3)


@pytest.mark.parametrize("stored", [across, lambda tensor: tensor.to(memory_format=torch.channels_last)])
@pytest.mark.parametrize("given", ["x", "weight", "gradient"])
@pytest.mark.parametrize("kind", [Conv2d, ConvTranspose2d])
def test_values_may_be_stored_in_any_order(
    kind: type[nn.Module], given: str, stored: Callable[[Tensor], Tensor]
) -> None:
    """torch's own kernel for unfolding has wrong gradients, or none, if images are not stored row by row."""
    torch.manual_seed(0)
    module = kind(2, 3, 3, 1, 1).double()
    x = torch.randn(4, 2, 5, 5, dtype=torch.float64)
    values = {"x": x, "weight": module.weight.detach(), "gradient": torch.randn(4, 3, 5, 5, dtype=torch.float64)}
    values[given] = stored(values[given])
    x, weight = (values[name].requires_grad_() for name in ("x", "weight"))
    found, expected = (
        (y, *torch.autograd.grad(y, (x, weight, module.bias), values["gradient"]))
        for y in (own(module, x, weight), reference(module, x, weight))
    )
    assert all(torch.allclose(one, two, rtol=0, atol=1e-12) for one, two in zip(found, expected, strict=True))


LARGE = {"in_channels": 256, "out_channels": 256, "kernel_size": 3, "padding": 1}
"""A layer that is not torch's own for maps of 7 x 7."""


@pytest.mark.parametrize(
    ("sizes", "more", "x"),
    [
        ({}, {}, torch.zeros(1, 256, 7, 7)),  # The kernels are transformed for a single image.
        ({}, {}, torch.zeros(32, 256, 9, 9)),
        ({}, {}, torch.zeros(256, 7, 7)),
        ({}, {}, torch.zeros(0, 256, 7, 7)),
        ({"stride": 2}, {}, torch.zeros(32, 256, 7, 7)),
        ({"stride": (1, 2)}, {}, torch.zeros(32, 256, 7, 7)),
        ({"kernel_size": (3, 5)}, {}, torch.zeros(32, 256, 7, 7)),
        ({"padding": "same"}, {}, torch.zeros(32, 256, 7, 7)),
        ({"padding": 0}, {"pads": (1, 1, 2, 0)}, torch.zeros(32, 256, 7, 7)),
        ({"dilation": 2}, {}, torch.zeros(32, 256, 7, 7)),
        ({"groups": 2}, {}, torch.zeros(32, 256, 7, 7)),
        ({"padding_mode": "circular"}, {}, torch.zeros(32, 256, 7, 7)),
        ({"dtype": torch.bfloat16}, {}, torch.zeros(32, 256, 7, 7, dtype=torch.bfloat16)),
        ({"device": "meta"}, {}, torch.zeros(32, 256, 7, 7, device="meta")),
        ({"out_channels": 4}, {}, torch.zeros(32, 256, 7, 7)),
    ],
)
def test_other_layers_are_torch_s_own(
    sizes: dict[str, object], more: dict[str, object], x: Tensor, torchs_own: list[str]
) -> None:
    module = Conv2d(**{**LARGE, **sizes})  # type: ignore[arg-type]
    for name, value in more.items():
        setattr(module, name, value)
    with torch.no_grad():
        y = module(x)
        theirs = nn.Conv2d(**{**LARGE, **sizes})(F.pad(x, module.pads))  # type: ignore[arg-type]
    assert (y.shape, y.dtype) == (theirs.shape, theirs.dtype)
    assert torchs_own == ["conv2d", "conv2d"]


def test_a_transposed_convolution_with_a_size_or_more_padding_than_its_kernel_is_torch_s_own(
    torchs_own: list[str],
) -> None:
    x = torch.zeros(32, 256, 7, 7)
    with torch.no_grad():
        assert ConvTranspose2d(256, 256, 3, 2, 1)(x, [14, 14]).shape == (32, 256, 14, 14)
        assert ConvTranspose2d(256, 256, 3, 1, 3)(x).shape == (32, 256, 3, 3)
        assert len(torchs_own) == 2
        module = ConvTranspose2d(256, 256, 5, 2, 1)
        module.crop = 1
        assert module(x).shape == (32, 256, 14, 14)
        assert len(torchs_own) == 2
        assert module(x[:1]).shape == (1, 256, 14, 14)
        assert len(torchs_own) == 3


def test_one_setting_and_autocast_turn_them_off(torchs_own: list[str]) -> None:
    module, plain, x = Conv2d(**LARGE), nn.Conv2d(**LARGE), torch.randn(16, 256, 7, 7)  # type: ignore[arg-type]
    plain.load_state_dict(module.state_dict())
    with torch.no_grad():
        module(x)
        assert torchs_own == []
        with arithmetic(tf32=False, deterministic=False, fast_convolutions=False):
            off = module(x)
        assert torchs_own == ["conv2d"]
        assert torch.equal(off, plain(x))
        torchs_own.clear()
        with torch.autocast("cpu", torch.bfloat16):
            assert module(x).dtype == torch.bfloat16
        assert torchs_own == ["conv2d"]
        torchs_own.clear()
        module(x)
    assert torchs_own == []


def test_layers_keep_the_names_of_checkpoints() -> None:
    def names(kernel: int, kind: str, **more: object) -> list[str]:
        layers, _ = build_layers([{kind: {"channels": 3, "kernel": kernel, **more}}], (2, 8, 8), "torch")
        return list(layers.state_dict())

    # As in checkpoints of gan_core 0.1.0 before: the padding was a module of its own.
    assert names(3, "conv", stride=2) == ["0.1.weight", "0.1.bias"]
    assert names(3, "conv", padding="valid") == ["0.weight", "0.bias"]
    assert names(5, "conv_transpose", stride=2) == ["0.0.weight", "0.0.bias"]
    assert names(4, "conv_transpose", stride=2) == ["0.weight", "0.bias"]


def test_they_run_in_fake_tensor_mode_and_leave_nothing_fake_behind() -> None:
    small_map_convolution._transforms.cache_clear()
    with FakeTensorMode():
        assert Conv2d(**LARGE)(torch.zeros(16, 256, 7, 7)).shape == (16, 256, 7, 7)  # type: ignore[arg-type]
    with torch.no_grad():
        assert type(Conv2d(**LARGE)(torch.zeros(16, 256, 7, 7))) is Tensor  # type: ignore[arg-type]


def test_the_flag_of_a_run_reaches_its_layers(train: Callable[..., str], tmp_path: Path, torchs_own: list[str]) -> None:
    seen: dict[bool, int] = {}
    for on in (True, False):
        torchs_own.clear()
        train(variant="dcgan", steps=1, batch=64, out=tmp_path / str(on), fast_convolutions=on, sample_every=1)
        seen[on] = len(torchs_own)
    assert seen[False] > seen[True]
