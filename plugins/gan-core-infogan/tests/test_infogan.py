"""InfoGAN: table 1 of Chen et al. 2016, the lower bound of equation 5 by hand, and codes as rows of grids."""

import math

import numpy as np
import pytest
import torch
from gan_core_infogan import InfoganOptions, InfoganSampling, build, mutual_information
from torch import Tensor, nn

from gan_core import DataSpec, Request
from gan_core.testing import made_batch, terms_of

MNIST = DataSpec.of_images(name="mnist", image_size=28, channels=1, classes=0, count=60_000)
DIGITS = DataSpec.of_images(name="digits", image_size=8, channels=1, classes=0, count=1500)


def test_parameters_are_as_many_as_in_the_authors_implementation_for_mnist() -> None:
    # openai/InfoGAN, infogan/models/regularized_gan.py, network_type "mnist": every layer has biases there, also
    # before batch normalisation, which cancels them. Its Q has outputs for the standard deviations of both codes too,
    # which it does not use with the fix_std of run_mnist_exp.py: dist_flat_dim is 10 + 2 · 2.
    generator = (74 + 1) * 1024 + 2 * 1024 + (1024 + 1) * 6272 + 2 * 6272 + 16 * 128 * 64 + 64 + 2 * 64 + 16 * 64 + 1
    trunk = 16 * 64 + 64 + 16 * 64 * 128 + 128 + 2 * 128 + (6272 + 1) * 1024 + 2 * 1024
    discriminator = trunk + (1024 + 1) + (1024 + 1) * 128 + 2 * 128 + (128 + 1) * 14
    without_effect = [1024 + 6272 + 64, 128 + 1024 + 128 + (128 + 1) * 2]
    networks = build(InfoganOptions(), MNIST).networks.values()
    counts = [sum(p.numel() for p in network.parameters()) for network in networks]
    assert counts == [generator - without_effect[0], discriminator - without_effect[1]]


def test_the_lower_bound_is_that_of_equation_5() -> None:
    logits, means = torch.tensor([[0.0, math.log(3)], [0.0, 0.0]]), torch.tensor([[0.5], [0.0]])
    categorical, continuous = mutual_information(logits, means, torch.tensor([1, 0]), torch.tensor([[0.1], [-0.2]]))
    # Q gives the categories drawn the probabilities 3/4 and 1/2; H is log 2 for both codes.
    assert float(categorical) == pytest.approx((math.log(0.75) + math.log(0.5)) / 2 + math.log(2))
    densities = [math.exp(-(distance**2) / 2) / math.sqrt(2 * math.pi) for distance in (0.4, 0.2)]
    assert float(continuous) == pytest.approx(sum(map(math.log, densities)) / 2 + math.log(2))


def test_the_bound_is_reached_by_the_posterior() -> None:
    # Of a category that the image shows without error, the information is its entropy.
    logits = 100.0 * torch.eye(4)
    categorical, none = mutual_information(logits, torch.zeros(4, 0), torch.arange(4), torch.zeros(4, 0))
    assert float(categorical) == pytest.approx(math.log(4))
    assert float(none) == 0


class Known(nn.Module):
    """The source logit is the first pixel; Q says nothing of the category, and -0.5 and 0 of the codes."""

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        return images[:, 0, 0, 0], images.flatten(1)

    def estimates(self, features: Tensor) -> tuple[Tensor, Tensor]:
        return torch.zeros(len(features), 10), torch.tensor([-0.5, 0.0]).expand(len(features), 2)


class Black(nn.Module):
    """G = 0."""

    def forward(self, noise: Tensor, category: Tensor, codes: Tensor) -> Tensor:
        del category, codes
        return torch.zeros(len(noise), 1, 8, 8)


def test_both_losses_have_the_bound() -> None:
    game = build(InfoganOptions(width=4, information=0.5), DIGITS)
    networks = {"generator": Black(), "discriminator": Known()}
    inputs = {"noise": torch.zeros(2, 62), "category": torch.tensor([1, 2]), "codes": torch.tensor([[0.5, 0.0]] * 2)}
    batch = made_batch({"images": torch.ones(2, 1, 8, 8)}, inputs)
    codes = -0.5 * (2 * math.log(2) - math.log(2 * math.pi) - 0.5)
    expected = {"category": pytest.approx(0, abs=1e-6), "codes": pytest.approx(codes)}
    terms = {name: float(term) for name, term in terms_of(game, "discriminator", batch, networks).items()}
    assert terms["real"] == pytest.approx(math.log(1 + math.exp(-1)))
    assert terms["fake"] == pytest.approx(math.log(2))
    assert {name: terms[name] for name in expected} == expected
    terms = {name: float(term) for name, term in terms_of(game, "generator", batch, networks).items()}
    assert terms == {"adversarial": pytest.approx(math.log(2)), **expected}


def test_q_learns_from_the_trunk_that_it_shares() -> None:
    game = build(InfoganOptions(width=4), DIGITS)
    inputs = game.draw(np.random.default_rng(0), Request(count=8))
    terms = terms_of(game, "discriminator", made_batch({"images": torch.zeros(8, 1, 8, 8)}, inputs))
    discriminator = game.networks["discriminator"]
    (terms["category"] + terms["codes"]).backward()
    assert all(p.grad is not None and p.grad.any() for p in discriminator.trunk[0].parameters())
    assert discriminator.source.weight.grad is None


def test_codes_are_drawn_at_random_but_for_the_rows_of_a_grid() -> None:
    game = build(InfoganOptions(width=4, categories=3), DIGITS)
    assert game.outputs["images"].rows == 3
    drawn = game.draw(np.random.default_rng(0), Request(count=3000))
    assert torch.bincount(drawn["category"]).tolist() == pytest.approx([1000] * 3, rel=0.1)
    assert (float(drawn["codes"].min()), float(drawn["codes"].max())) == pytest.approx((-1, 1), abs=0.01)
    shown = game.draw(np.random.default_rng(0), Request(count=7, first=64, grid=3))
    assert shown["category"].tolist() == [1, 2, 0, 1, 2, 0, 1]
    varied = Request(count=6, first=0, grid=5, options=InfoganSampling(rows=2))
    codes = game.draw(np.random.default_rng(0), varied)["codes"]
    assert codes[:, 1].tolist() == [-2.0, -1.0, 0.0, 1.0, 2.0, -2.0]
    assert bool((codes[:, 0].abs() <= 1).all())
    with pytest.raises(ValueError, match="rows: 3 is not allowed: the generator has 2 continuous codes"):
        game.draw(np.random.default_rng(0), Request(count=1, grid=1, options=InfoganSampling(rows=3)))


@pytest.mark.parametrize("size", [10, 6])
def test_unsupported_sizes_are_rejected(size: int) -> None:
    data = DataSpec.of_images(name="made up", image_size=size, channels=1, classes=0, count=5)
    with pytest.raises(ValueError, match="must be a multiple of 4, and at least 8"):
        build(InfoganOptions(), data)
