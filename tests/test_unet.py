"""The U-Net block, against the nested form in which pytorch-CycleGAN-and-pix2pix writes it, and counts by hand."""

import pytest
import torch
from torch import Tensor, nn

from gan_core import UNet
from gan_core.cli.tables.plan import parameters


class Nested(nn.Module):
    """One level around the next inner one: x -> (x, up(inner(down(x)))), as in the authors' PyTorch code."""

    def __init__(self, down: list[nn.Module], inner: nn.Module | None, up: list[nn.Module], outermost: bool) -> None:
        super().__init__()
        self.model = nn.Sequential(*down, *([] if inner is None else [inner]), *up)
        self.outermost = outermost

    def forward(self, x: Tensor) -> Tensor:
        return self.model(x) if self.outermost else torch.cat([x, self.model(x)], 1)


def nested(channels: int, out: int, width: int, levels: int, norm: type[nn.Module]) -> Nested:
    """Returns the network of the same weights in the same order, from the inside out; dropout is left out."""

    def conv(before: int, after: int) -> nn.Module:
        return nn.Conv2d(before, after, 4, 2, 1, bias=False)

    def deconv(before: int, after: int, bias: bool = False) -> nn.Module:
        return nn.ConvTranspose2d(before, after, 4, 2, 1, bias=bias)

    widths = [min(width * 2**level, 8 * width) for level in range(levels)]
    block: Nested | None = None
    for level in range(levels - 1, 0, -1):
        before, after = widths[level - 1], widths[level]
        innermost = block is None
        down = [nn.LeakyReLU(0.2), conv(before, after), *([] if innermost else [norm(after)])]
        up = [nn.ReLU(), deconv(after if innermost else 2 * after, before), norm(before)]
        block = Nested(down, block, up, outermost=False)
    first = [conv(channels, width)]
    return Nested(first, block, [nn.ReLU(), deconv(2 * width, out, bias=True), nn.Tanh()], outermost=True)


@pytest.mark.parametrize("kind", ["instance", "batch"])
@pytest.mark.parametrize(("levels", "height", "width"), [(4, 16, 16), (5, 64, 32), (6, 64, 64)])
def test_it_computes_what_the_nested_form_computes(kind: str, levels: int, height: int, width: int) -> None:
    own = UNet(1, 3, levels=levels, width=3, norm=kind, dropout=0.0)
    norms = {"batch": nn.BatchNorm2d, "instance": lambda width: nn.InstanceNorm2d(width, affine=True)}
    other = nested(1, 3, 3, levels, norms[kind])
    torch.manual_seed(0)
    for parameter in own.parameters():
        nn.init.normal_(parameter, 0.5 * (parameter.ndim == 1), 0.3)
    # The nested form meets the encoder's layers first too, then the decoder's from the inside out.
    theirs = list(other.parameters())
    for mine, twin in zip(own.parameters(), theirs, strict=True):
        assert mine.shape == twin.shape
        twin.data.copy_(mine.data)
    images = torch.randn(2, 1, height, width)
    translated = own(images)
    assert translated.shape == (2, 3, height, width)
    assert translated.abs().max() <= 1
    torch.testing.assert_close(translated, other(images))


@pytest.mark.parametrize("kind", ["instance", "batch"])
def test_at_256_pixels_it_has_the_parameters_of_the_authors_unet_256(kind: str) -> None:
    # The encoder's and the decoder's 4 x 4 kernels by hand; the authors' code prints 54.414 M.
    encoder = [(3, 64), (64, 128), (128, 256), (256, 512)] + 4 * [(512, 512)]
    decoder = [(512, 512)] + 3 * [(1024, 512)] + [(1024, 256), (512, 128), (256, 64), (128, 3)]
    kernels = 16 * sum(before * after for before, after in encoder + decoder)
    norms = 2 * (128 + 256 + 512 + 3 * 512) + 2 * (4 * 512 + 256 + 128 + 64)
    with torch.device("meta"):
        network = UNet(3, 3, levels=8, norm=kind)
    assert parameters(network) == kernels + norms + 3
    assert round(parameters(network) / 1e6, 3) == 54.414


def test_initial_weights() -> None:
    network = UNet(3, 3, levels=5, width=32)
    weights = torch.cat([p.detach().flatten() for p in network.parameters() if p.ndim == 4])
    assert float(weights.std()) == pytest.approx(0.02, rel=1e-2)
    assert float(weights.mean()) == pytest.approx(0, abs=1e-4)


def test_dropout_is_in_the_first_three_blocks_of_the_decoder_and_only_when_asked_for() -> None:
    network = UNet(1, 1, levels=6, width=4, dropout=0.5).eval()
    images = torch.randn(1, 1, 64, 64)
    seen: list[Tensor] = []
    for block in (*network.up, network.last):
        block.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))

    def zeros(noise: bool | None) -> list[bool]:
        """Returns whether elements of what each block of the decoder gave the next one are exactly 0."""
        seen.clear()
        torch.manual_seed(0)
        network(images, noise=noise)
        # The first half of the channels is from the encoder, the second half from the decoder.
        return [bool((x.chunk(2, 1)[1] == 0).float().mean() > 0.3) for x in seen[1:]]

    assert zeros(None) == zeros(False) == [False] * 5
    assert zeros(True) == [True, True, True, False, False]
    network.train()
    assert zeros(None) == [True, True, True, False, False]
    assert zeros(False) == [False] * 5
    network.dropout.p = 0.0
    assert zeros(True) == [False] * 5
