"""AC-GAN: the losses of Odena et al. 2017 against values computed by hand, and the labels of inputs and images."""

import math

import numpy as np
import pytest
import torch
from gan_core_acgan import AcganOptions, build
from torch import Tensor, nn

from gan_core import DataSpec, Request
from gan_core.errors import UserError
from gan_core.plugins.load import load_variant
from gan_core.testing import made_batch, terms_of

DIGITS = DataSpec.of_images(name="digits", image_size=8, channels=1, classes=10, count=1500)


class Oracle(nn.Module):
    """Returns a source logit of 2 and odds of 9 : 1 for class 3 against all other classes together, for every image."""

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        logits = torch.zeros(len(images), 10)
        logits[:, 3] = math.log(81.0)
        return torch.full((len(images),), 2.0), logits


def test_losses_are_equations_2_and_3() -> None:
    game = build(AcganOptions(width=4), DIGITS)
    networks = {"generator": game.networks["generator"], "discriminator": Oracle()}
    inputs = {"z": torch.randn(4, 100), "labels": torch.tensor([3, 3, 3, 0])}
    batch = made_batch({"images": torch.randn(4, 1, 8, 8), "labels": torch.tensor([3, 3, 0, 0])}, inputs)
    terms = terms_of(game, "discriminator", batch, networks)
    # Class 3 has the probability 81 / 90 = 0.9, every other class 1 / 90.
    right, wrong = -math.log(0.9), math.log(90)
    assert float(terms["real"]) == pytest.approx(math.log(1 + math.exp(-2)))
    assert float(terms["fake"]) == pytest.approx(math.log(1 + math.exp(2)))
    assert float(terms["class of real"]) == pytest.approx((2 * right + 2 * wrong) / 4)
    assert float(terms["class of fake"]) == pytest.approx((3 * right + wrong) / 4)
    terms = terms_of(game, "generator", batch, networks)
    assert float(terms["adversarial"]) == pytest.approx(math.log(1 + math.exp(-2)))
    assert float(terms["class"]) == pytest.approx((3 * right + wrong) / 4)


def test_labels_are_the_requested_ones_or_sampled() -> None:
    game = build(AcganOptions(width=4), DIGITS)
    assert game.outputs["images"].given == ("labels",)
    requested = torch.tensor([1, 2, 3])
    assert torch.equal(
        game.draw(np.random.default_rng(0), Request(count=3, given={"labels": requested}))["labels"], requested
    )
    sampled = game.draw(np.random.default_rng(0), Request(count=1000))["labels"]
    assert sampled.unique().tolist() == list(range(10))
    generator = game.networks["generator"].eval()
    z = torch.randn(1, 100)
    assert not torch.equal(generator(z=z, labels=torch.tensor([1])), generator(z=z, labels=torch.tensor([2])))


def test_data_without_labels_is_rejected() -> None:
    unlabelled = DataSpec.of_images(name="folder:cats", image_size=8, channels=1, classes=0, count=5)
    with pytest.raises(UserError, match=r"variant 'acgan' .* needs labels, but 'folder:cats' has none"):
        load_variant("acgan").build(None, unlabelled)


@pytest.mark.parametrize("size", [10, 6])
def test_unsupported_sizes_are_rejected(size: int) -> None:
    data = DataSpec.of_images(name="made up", image_size=size, channels=1, classes=2, count=5)
    with pytest.raises(ValueError, match="must be a multiple of 4, and at least 8"):
        build(AcganOptions(), data)
