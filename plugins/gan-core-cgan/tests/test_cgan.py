"""The conditional GAN: the layers and the training of section 4.1 of Mirza & Osindero 2014, by hand."""

import math

import numpy as np
import pytest
import torch
from gan_core_cgan import CganOptions, Maxout, build
from torch import Tensor, nn

from gan_core import DataSpec, Moment, Request
from gan_core.testing import made_batch, terms_of

MNIST = DataSpec.of_images(name="mnist", image_size=28, channels=1, classes=10, count=60_000)
DIGITS = DataSpec.of_images(name="digits", image_size=8, channels=1, classes=10, count=1500)


def test_the_layers_of_the_paper_for_mnist() -> None:
    game = build(CganOptions(), MNIST)
    # z: 100 -> 200; y: 10 -> 1,000; both: 1,200 -> 1,200; 784 pixels.
    generator = (100 + 1) * 200 + (10 + 1) * 1000 + (1200 + 1) * 1200 + (1200 + 1) * 784
    # Maxout: x: 784 -> 240 with 5 pieces; y: 10 -> 50 with 5; both: 290 -> 240 with 4; one logit.
    discriminator = (784 + 1) * 240 * 5 + (10 + 1) * 50 * 5 + (290 + 1) * 240 * 4 + (240 + 1)
    counts = [sum(p.numel() for p in network.parameters()) for network in game.networks.values()]
    assert counts == [generator, discriminator]
    assert [network.dropout.p for network in game.networks.values()] == [0.5, 0.5]
    z = game.draw(np.random.default_rng(0), Request(count=1000))["z"]
    assert (z.shape, float(z.min()) >= 0, float(z.mean())) == ((1000, 100), True, pytest.approx(0.5, abs=0.01))


@pytest.mark.parametrize("width", [24, 480, 1200])
def test_at_the_beginning_images_depend_on_the_latent_more_than_on_the_label(width: int) -> None:
    torch.manual_seed(0)
    generator = build(CganOptions(width=width), MNIST).networks["generator"].eval()
    with torch.no_grad():
        rows = torch.stack([generator(torch.rand(200, 100), torch.full((200,), label)) for label in range(10)])
    within, between = float(rows.var(1).mean()), float(rows.mean(1).var(0).mean())
    # 0.2 with torch's weights, of a standard deviation of 0.05.
    assert 1 < within / between < 10
    assert 0.2 < float(rows.std()) < 0.9  # Neither grey nor saturated.


def test_maxout_is_the_largest_piece_of_each_unit() -> None:
    layer = Maxout(1, 2, 3)
    with torch.no_grad():
        layer.dense.weight.copy_(torch.tensor([[1.0], [-1.0], [0.0], [2.0], [3.0], [-5.0]]))
        layer.dense.bias.copy_(torch.tensor([0.0, 0.0, 0.5, 1.0, 0.0, 0.0]))
        assert layer(torch.tensor([[2.0], [-1.0], [0.25]])).tolist() == [[2.0, 6.0], [1.0, 5.0], [0.5, 1.5]]


class Known(nn.Module):
    """D(x, y) = the first pixel plus the label."""

    def forward(self, images: Tensor, labels: Tensor) -> Tensor:
        return images[:, 0, 0, 0] + labels


class Black(nn.Module):
    """G(z, y) = 0."""

    def forward(self, z: Tensor, labels: Tensor) -> Tensor:
        del labels
        return torch.zeros(len(z), 1, 8, 8)


def test_the_losses_are_equation_2() -> None:
    game = build(CganOptions(width=24), DIGITS)
    networks = {"generator": Black(), "discriminator": Known()}
    batch = made_batch(
        {"images": torch.ones(2, 1, 8, 8), "labels": torch.tensor([0, 1])},
        {"z": torch.rand(2, 100), "labels": torch.tensor([0, 2])},
    )

    def softplus(x: float) -> float:
        return math.log(1 + math.exp(x))

    # D is 1 and 2 for real images, 0 and 2 for fakes.
    terms = terms_of(game, "discriminator", batch, networks)
    assert float(terms["real"]) == pytest.approx((softplus(-1) + softplus(-2)) / 2)
    assert float(terms["fake"]) == pytest.approx((softplus(0) + softplus(2)) / 2)
    terms = terms_of(game, "generator", batch, networks)
    assert float(terms["adversarial"]) == pytest.approx((softplus(0) + softplus(-2)) / 2)


class Steep(nn.Module):
    """D(x, y) = (y + 1) times the sum of the pixels: its gradient by x has the squared norm 64 (y + 1)²."""

    def forward(self, images: Tensor, labels: Tensor) -> Tensor:
        return (labels + 1) * images.sum((1, 2, 3))


def test_r1_is_of_the_real_images_with_their_labels() -> None:
    batch = made_batch(
        {"images": torch.ones(2, 1, 8, 8), "labels": torch.tensor([0, 2])},
        {"z": torch.rand(2, 100), "labels": torch.tensor([5, 5])},
    )
    networks = {"generator": Black(), "discriminator": Steep()}
    terms = terms_of(build(CganOptions(width=24, r1=0.3), DIGITS), "discriminator", batch, networks)
    assert float(terms["r1"]) == pytest.approx(0.3 / 2 * 64 * (1 + 9) / 2)
    assert "r1" not in terms_of(build(CganOptions(width=24), DIGITS), "discriminator", batch, networks)


def test_the_learning_rate_falls_and_the_momentum_rises() -> None:
    game = build(CganOptions(width=24, momentum_kimg=1.0, discriminator_lr=0.2), DIGITS)
    for phase, lr in zip(game.phases, (0.2, 0.1), strict=True):
        optimizer = phase.optimizer(game.networks[phase.name].parameters())  # type: ignore[operator]
        assert (optimizer.param_groups[0]["momentum"], optimizer.param_groups[0]["nesterov"]) == (0.5, False)
        assert phase.tune is not None
        for images, steps, momentum in ((0, 0, 0.5), (500, 5, 0.6), (10_000, 100, 0.7)):
            found = phase.tune(Moment(images_seen=images, progress=0.0, batch=100))
            assert found == {"lr": pytest.approx(lr / 1.00004**steps), "momentum": pytest.approx(momentum)}
        assert phase.tune(Moment(images_seen=10**9, progress=1.0, batch=100))["lr"] == 1e-6
    assert all(phase.tune is None for phase in build(CganOptions(width=24, optimizer="adam"), DIGITS).phases)


def test_both_networks_depend_on_the_label() -> None:
    game = build(CganOptions(width=24), DIGITS)
    generator, discriminator = (network.eval() for network in game.networks.values())
    z, labels = torch.rand(2, 100), torch.tensor([3, 4])
    images = generator(z, labels)
    assert (images.shape, bool((images.abs() <= 1).all())) == ((2, 1, 8, 8), True)
    assert not torch.allclose(images, generator(z, labels + 1))
    assert not torch.allclose(discriminator(images, labels), discriminator(images, labels + 1))
