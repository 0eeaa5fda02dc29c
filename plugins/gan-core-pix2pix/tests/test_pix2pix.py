"""pix2pix: its losses by hand, its networks' sizes, and the images that it accepts."""

import math

import pytest
import torch
from gan_core_pix2pix import Pix2pixOptions, Pix2pixSampling, build, layers_of_patches
from torch import Tensor, nn

from gan_core import Batch, DataSpec, Game, ImageField, Table
from gan_core.testing import made_batch, terms_of


def pairs(a: tuple[int, int, int], b: tuple[int, int, int]) -> DataSpec:
    """Returns pairs of images of the shapes (C, H, W)."""
    fields = {name: ImageField(channels=c, height=h, width=w) for name, (c, h, w) in (("a", a), ("b", b))}
    return DataSpec(name="made up", tables={"pairs": Table(fields=fields, count=4)})


SMALL = pairs((1, 16, 16), (1, 16, 16))


class Half(nn.Module):
    """G(a) = w a, with w = 1/2."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor(0.5))

    def forward(self, images: Tensor) -> Tensor:
        return self.weight * images


class Weighted(nn.Module):
    """D(a, b) = a + 2 b for every pixel: each pixel is a patch."""

    def forward(self, images: Tensor) -> Tensor:
        return images[:, :1] + 2 * images[:, 1:]


def batch() -> Batch:
    """Returns two pairs of constant images: a = 1, b = 3/4, and a = -1, b = 1/4."""
    a, b = (torch.tensor(values).view(2, 1, 1, 1).expand(2, 1, 16, 16) for values in ((1.0, -1.0), (0.75, 0.25)))
    return made_batch({"a": a, "b": b}, {})


def softplus(x: float) -> float:
    return math.log1p(math.exp(x))


def terms(game: Game, phase: str) -> dict[str, float]:
    found = terms_of(game, phase, batch(), {"generator": Half(), "discriminator": Weighted()})
    return {name: float(term.detach()) for name, term in found.items()}


def test_both_losses_by_hand() -> None:
    # G(a) is 1/2 and -1/2. D(a, b) is 1 + 1.5 and -1 + 0.5; D(a, G(a)) is 1 + 1 and -1 - 1.
    game = build(Pix2pixOptions(width=2), SMALL)
    found = terms(game, "discriminator")
    assert found["real"] == pytest.approx((softplus(-2.5) + softplus(0.5)) / 2 / 2)
    assert found["fake"] == pytest.approx((softplus(2.0) + softplus(-2.0)) / 2 / 2)
    # |b - G(a)| is 1/4 and 3/4, whose mean is 1/2.
    found = terms(game, "generator")
    assert found["L1"] == pytest.approx(0.5)
    assert found["reconstruction"] == pytest.approx(100 * 0.5)
    assert found["adversarial"] == pytest.approx((softplus(-2.0) + softplus(2.0)) / 2)


def test_the_weights_of_the_terms() -> None:
    game = build(Pix2pixOptions(width=2, l1_weight=10, gan_weight=3), SMALL)
    found = terms(game, "generator")
    assert found["reconstruction"] == pytest.approx(10 * 0.5)
    assert found["adversarial"] == pytest.approx(3 * (softplus(-2.0) + softplus(2.0)) / 2)
    whole = build(Pix2pixOptions(width=2, discriminator_weight=1), SMALL)
    assert terms(whole, "discriminator")["fake"] == pytest.approx(2 * terms(game, "discriminator")["fake"])


def test_the_generator_s_gradient_is_of_both_terms() -> None:
    # b is larger than G(a) = w a in both pairs, so d/dw 100 |b - w a| = -100 a: -100 and 100, which cancel out.
    # -log D has the logit a + 2 w a and the derivative -2 a σ(-(a + 2 w a)); at w = 1/2: -2 σ(-2) and 2 σ(2).
    half = Half()
    networks = {"generator": half, "discriminator": Weighted()}
    found = terms_of(build(Pix2pixOptions(width=2), SMALL), "generator", batch(), networks)
    (found["reconstruction"] + found["adversarial"]).backward()
    sigmoid = 1 / (1 + math.exp(-2))
    assert half.weight.grad is not None
    assert float(half.weight.grad) == pytest.approx((-2 * (1 - sigmoid) + 2 * sigmoid) / 2, rel=1e-4)


def test_phases_and_optimizers() -> None:
    game = build(Pix2pixOptions(width=2), SMALL)
    discriminator, generator = game.phases
    assert generator.on == discriminator.name  # It is judged for what the discriminator has just seen.
    for phase in game.phases:
        assert callable(phase.optimizer)
        group = phase.optimizer(game.networks[phase.name].parameters()).param_groups[0]
        assert (group["lr"], group["betas"]) == (2e-4, (0.5, 0.999))


def test_l1_alone_has_no_discriminator() -> None:
    game = build(Pix2pixOptions(width=2, gan_weight=0), SMALL)
    assert set(game.networks) == {"generator"}
    assert [phase.name for phase in game.phases] == ["generator"]
    assert terms(game, "generator").keys() == {"reconstruction", "L1"}


def test_at_256_pixels_the_networks_are_the_authors() -> None:
    with torch.device("meta"):
        networks = build(Pix2pixOptions(norm="batch"), pairs((3, 256, 256), (3, 256, 256))).networks
    millions = {name: sum(p.numel() for p in network.parameters()) / 1e6 for name, network in networks.items()}
    # As the authors' code prints them for facades.
    assert {name: round(count, 3) for name, count in millions.items()} == {"generator": 54.414, "discriminator": 2.769}


@pytest.mark.parametrize(("height", "width"), [(16, 16), (32, 32), (48, 64), (64, 64), (80, 16), (128, 128)])
def test_sides_may_be_any_multiples_of_16_and_channels_may_differ(height: int, width: int) -> None:
    game = build(Pix2pixOptions(width=1), pairs((1, height, width), (3, height, width)))
    images = game.outputs["translated"].generate(
        game.networks, {"a": torch.rand(1, 1, height, width)}, Pix2pixSampling()
    )
    assert isinstance(images, Tensor)
    assert images.shape == (1, 3, height, width)
    assert images.abs().max() <= 1
    both = torch.cat((torch.rand(1, 1, height, width), images), 1)
    logits = game.networks["discriminator"](both)
    assert logits.numel() >= 1


def test_small_images_have_fewer_layers_of_patches() -> None:
    # 4 x 4 kernels with padding 1: a side s becomes s / 2 with stride 2, and s - 1 in each of the last two layers.
    for side in range(16, 100, 16):
        layers = layers_of_patches(side, side, 3)
        assert layers == 3 or side // 2 ** (layers + 1) - 2 < 1
        assert side // 2**layers - 2 >= 1
    assert layers_of_patches(256, 256, 3) == 3
    assert layers_of_patches(256, 256, 1) == 1


@pytest.mark.parametrize(
    ("a", "b", "message"),
    [
        ((1, 28, 28), (1, 28, 28), "28 x 28 do not fit pix2pix.*multiples of 16. Try --image-size 32"),
        ((1, 8, 8), (1, 8, 8), "Try --image-size 16"),
        ((1, 16, 32), (3, 32, 32), "a is 32 x 16 pixels and b 32 x 32.*pass --image-size"),
    ],
)
def test_other_images_are_refused(a: tuple[int, int, int], b: tuple[int, int, int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build(Pix2pixOptions(width=2), pairs(a, b))


@pytest.mark.parametrize("norm", ["instance", "batch"])
def test_dropout_is_the_noise_of_samples(norm: str) -> None:
    game = build(Pix2pixOptions(width=4, norm=norm), SMALL)
    networks = {"generator": game.networks["generator"].eval()}
    given = {"a": torch.rand(2, 1, 16, 16)}

    def draw(seed: int, noise: bool) -> Tensor:
        torch.manual_seed(seed)
        images = game.outputs["translated"].generate(networks, given, Pix2pixSampling(noise=noise))
        assert isinstance(images, Tensor)
        return images

    assert torch.equal(draw(0, noise=True), draw(0, noise=True))
    assert not torch.equal(draw(0, noise=True), draw(1, noise=True))
    assert torch.equal(draw(0, noise=False), draw(1, noise=False))
    assert not networks["generator"].training
