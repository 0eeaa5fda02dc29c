"""R3GAN: parameters as published, its loss by hand, its schedules, and pairs of one class."""

from math import cos, exp, log1p, pi

import numpy as np
import pytest
import torch
from gan_core_r3gan import R3ganDiscriminator, R3ganGenerator, R3ganOptions, Residual, build
from torch import Tensor, nn

from gan_core import DataSpec, Moment, Options, Request, downsample, upsample
from gan_core.testing import made_batch, terms_of

DIGITS = DataSpec.of_images(name="digits", image_size=8, channels=1, classes=10, count=1500)
TINY = {"width": 8, "blocks": 1, "latent": 4}


def data(image_size: int, channels: int = 3, classes: int = 0) -> DataSpec:
    return DataSpec.of_images(name="x", image_size=image_size, channels=channels, classes=classes, count=9)


@pytest.mark.parametrize(
    ("conditional", "size", "generator", "discriminator"),
    [
        (False, 32, 20_732_160, 20_683_776),
        (True, 32, 20_781_952, 21_280_512),
        (False, 64, 22_429_824, 22_381_440),
        (False, 256, 23_057_952, 23_009_568),
    ],
    ids=["CIFAR10", "CIFAR10 --cond=1", "FFHQ-64", "FFHQ-256"],
)
def test_parameters_are_those_of_the_authors_presets(
    conditional: bool, size: int, generator: int, discriminator: int
) -> None:
    # brownvc/R3GAN, train.py: the networks of these presets, counted with its R3GAN/Networks.py.
    with torch.device("meta"):
        networks = build(R3ganOptions(conditional=conditional), data(size, classes=10)).networks
    counts = {name: sum(p.numel() for p in network.parameters()) for name, network in networks.items()}
    assert counts == {"generator": generator, "discriminator": discriminator}


def test_new_networks_are_their_chains_without_blocks() -> None:
    options, shape = R3ganOptions(**{**TINY, "width": 16}, conditional=True), data(64, classes=3)
    sides = [4, 8, 16, 32, 64]
    torch.manual_seed(0)
    G, D = R3ganGenerator(options, shape, sides), R3ganDiscriminator(options, shape, sides)
    z, labels = torch.randn(2, 4), torch.tensor([2, 0])
    images, logits = G(z, labels), D(torch.ones(2, 3, 64, 64), labels)
    linear = [layer for layer in G.layers if isinstance(layer, nn.Conv2d)]
    x = G.project(torch.cat([z, G.embedding.weight[labels]], 1))[:, :, None, None] * G.basis  # type: ignore[union-attr]
    for _ in range(3):
        x = upsample(x)
    changed = G.layers[-3].change  # type: ignore[union-attr]  # From 16 to 8 channels at 64 pixels, before upsampling.
    assert changed.weight.shape == (8, 16, 1, 1)
    torch.testing.assert_close(images, linear[-1](upsample(changed(x))))
    y = D.layers[2].change(downsample(D.layers[0](torch.ones(2, 3, 64, 64))))  # type: ignore[union-attr]
    for _ in range(3):
        y = downsample(y)
    y = D.project((y * D.basis).sum((2, 3)))
    torch.testing.assert_close(logits, (y * D.embedding.weight[labels]).sum(1))  # type: ignore[union-attr]


def test_a_block() -> None:
    block = Residual(32, blocks=4)
    assert block.mix.groups == 4  # 16 of 64 channels each.
    for parameter in block.parameters():
        nn.init.normal_(parameter, 0.0, 0.1)
    x = torch.randn(2, 32, 4, 4)
    y = torch.einsum("oi,bihw->bohw", block.expand.weight[..., 0, 0], x) + block.expand.bias[:, None, None]  # type: ignore[index]
    y = torch.where(y > 0, y, 0.2 * y)
    groups = [
        nn.functional.conv2d(part, weight, bias, padding=1)
        for part, weight, bias in zip(
            y.chunk(4, 1),
            block.mix.weight.chunk(4),
            block.mix.bias.chunk(4),
            strict=True,  # type: ignore[union-attr]
        )
    ]
    y = torch.cat(groups, 1)
    y = torch.einsum("oi,bihw->bohw", block.reduce.weight[..., 0, 0], torch.where(y > 0, y, 0.2 * y))
    torch.testing.assert_close(block(x), x + y, rtol=1e-4, atol=1e-5)


class Sloped(nn.Module):
    """D(x, y) = slope · (first pixel) + y: its gradient by the image has the norm of the slope."""

    def __init__(self) -> None:
        super().__init__()
        self.slope = nn.Parameter(torch.tensor(3.0))

    def forward(self, images: Tensor, labels: Tensor | None = None) -> Tensor:
        logits = self.slope * images[:, 0, 0, 0]
        return logits if labels is None else logits + labels


class Filled(nn.Module):
    """G(z, y) = z in every pixel, plus 100 y."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(1.0))

    def forward(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        shift = 0 if labels is None else 100 * labels[:, None, None, None]
        return (self.scale * z[:, :1, None, None] + shift).expand(-1, 1, 8, 8)


def softplus(x: float) -> float:
    return log1p(exp(x))


def test_the_losses() -> None:
    game = build(R3ganOptions(**TINY, gamma=2.0, final_gamma=1.0, decay_kimg=1), DIGITS)
    networks = {"generator": Filled(), "discriminator": Sloped()}
    batch = made_batch(
        {"images": torch.tensor([0.6, -0.2]).view(2, 1, 1, 1).expand(2, 1, 8, 8), "labels": torch.tensor([3, 7])},
        {"z": torch.tensor([[0.1], [0.4]])},
        images_seen=500,
    )
    # D(x) - D(G(z)) is 3 · 0.5 and 3 · -0.6; at half of the decay, gamma is 1.5.
    gaps = (1.5, -1.8)
    terms = {name: float(term.detach()) for name, term in terms_of(game, "discriminator", batch, networks).items()}
    penalty = 1.5 / 2 * 9
    assert terms == pytest.approx(
        {
            "relativistic": sum(softplus(-gap) for gap in gaps) / 2,
            "r1": penalty,
            "r2": penalty,
            "D(real)": 3 * 0.2,
            "D(fake)": 3 * 0.25,
        }
    )
    adversarial = terms_of(game, "generator", batch, networks)["adversarial"]
    assert float(adversarial.detach()) == pytest.approx(sum(map(softplus, gaps)) / 2)


def test_a_pair_is_of_one_class() -> None:
    game = build(R3ganOptions(**TINY, conditional=True), DIGITS)
    networks = {"generator": Filled(), "discriminator": Sloped()}
    labels = torch.tensor([0, 2])
    batch = made_batch({"images": torch.zeros(2, 1, 8, 8), "labels": labels}, {"z": torch.tensor([[0.1], [0.4]])})
    make_fake = game.phases[0].make_fake
    assert make_fake is not None
    fakes = make_fake(networks, batch)["images"][:, 0, 0, 0].tolist()
    assert fakes == pytest.approx([0.1, 200.4])
    terms = terms_of(game, "discriminator", batch, networks)
    assert float(terms["D(real)"]) == pytest.approx(1.0)
    assert float(terms["D(fake)"]) == pytest.approx((3 * 0.1 + 3 * 200.4 + 2) / 2)


def test_the_schedules() -> None:
    game = build(R3ganOptions(**TINY), DIGITS)
    assert game.half_life is not None
    for phase in game.phases:
        for million, decayed in ((0, 0.0), (5, (1 - cos(pi / 4)) / 2), (10, 0.5), (20, 1.0), (50, 1.0)):
            moment = Moment(images_seen=million * 10**6, progress=0.0, batch=64)
            assert phase.tune is not None
            tuned = phase.tune(moment)
            assert tuned["lr"] == pytest.approx(2e-4 - 1.5e-4 * decayed)
            assert tuned["betas"] == pytest.approx((0.0, 0.9 + 0.09 * decayed))
            assert game.half_life(moment) == pytest.approx(5e6 * decayed)


def test_samples_have_classes_where_it_is_conditional_and_are_limited() -> None:
    random = np.random.default_rng(0)
    for conditional in (False, True):
        game = build(R3ganOptions(**TINY, conditional=conditional), DIGITS)
        output = game.outputs["images"]
        given = {"labels": torch.tensor([1, 5, 9])} if output.given else {}
        assert output.given == (("labels",) if conditional else ())
        inputs = game.draw(random, Request(count=3, given=given, options=Options()))
        assert inputs["z"].shape == (3, 4)
        assert set(inputs) == ({"z", "labels"} if conditional else {"z"})
        images = output.generate(
            {"generator": Filled()}, {**inputs, "z": torch.tensor([[3.0], [-0.5], [0.0]])}, Options()
        )
        assert images[:, 0, 0, 0].tolist() == ([1.0, 1.0, 1.0] if conditional else [1.0, -0.5, 0.0])


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(ValueError, match=r"image size 28 does not fit R3GAN.*Try --image-size 32$"):
        build(R3ganOptions(**TINY), data(28))
    with pytest.raises(ValueError, match=r"conditional: data set 'x' has no labels. Set conditional=false"):
        build(R3ganOptions(**TINY, conditional=True), data(8))
