"""Options that variants share: their effects, against values computed by hand, and which combinations are allowed."""

import math
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.utils.parametrize import is_parametrized

from gan_core import RelativisticPairing, Request, squared_gradient_norm
from gan_core.errors import UserError
from gan_core.game.game import Game
from gan_core.testing import made_batch, terms_of
from tests.conftest import difference, make_job, metrics, weights

VARIANTS = ("vanilla", "dcgan", "acgan", "lsgan", "wgan")


def build(variant: str, *assignments: str) -> Game:
    """Returns a variant's game for the data set "digits", in float32."""
    return make_job(*assignments, variant=variant).build()


def learning_rates(game: Game) -> dict[str, float]:
    """Returns the learning rate of every phase's optimizer."""
    return {
        phase.name: phase.optimizer(game.networks[phase.trains[0]].parameters()).param_groups[0]["lr"]
        for phase in game.phases
    }


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_discriminator_may_have_its_own_learning_rate(variant: str) -> None:
    name = "critic" if variant == "wgan" else "discriminator"
    same = learning_rates(build(variant, "lr=0.003"))
    assert same == {name: 0.003, "generator": 0.003}
    different = learning_rates(build(variant, "lr=0.003", f"{name}_lr=0.007"))
    assert different == {name: 0.007, "generator": 0.003}


def layers(network: nn.Module) -> list[nn.Module]:
    """Returns the dense and convolutional layers."""
    return [module for module in network.modules() if isinstance(module, nn.Linear | nn.Conv2d | nn.ConvTranspose2d)]


def discriminator_of(game: Game) -> nn.Module:
    """Returns the discriminator or critic."""
    return next(network for name, network in game.networks.items() if name != "generator")


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_discriminator_s_normalisation(variant: str) -> None:
    extra = ("penalty=gradient",) if variant == "wgan" else ()
    spectral = discriminator_of(build(variant, "discriminator_norm=spectral", *extra))
    assert all(is_parametrized(layer, "weight") for layer in layers(spectral))
    plain = discriminator_of(build(variant, "discriminator_norm=none", *extra))
    assert not any(is_parametrized(layer, "weight") or isinstance(layer, _BatchNorm) for layer in plain.modules())
    batch = discriminator_of(build(variant, "discriminator_norm=batch"))
    assert any(isinstance(layer, _BatchNorm) for layer in batch.modules())
    default = discriminator_of(build(variant))
    assert any(isinstance(layer, _BatchNorm) for layer in default.modules()) == (variant in ("dcgan", "lsgan"))


def test_spectral_normalisation_against_a_singular_value_decomposition() -> None:
    layer_list = "discriminator=[{conv: [6, 3]}, tanh, flatten, {dense: 1}]"
    game = build("vanilla", "discriminator_norm=spectral", layer_list, "initialisation=normal")
    discriminator = game.networks["discriminator"]
    convolution, dense = layers(discriminator)
    before = [layer.parametrizations.weight.original.detach().clone() for layer in (convolution, dense)]
    for _ in range(100):
        discriminator(torch.zeros(2, 1, 8, 8))
    for layer, original in zip((convolution, dense), before, strict=True):
        largest = torch.linalg.svdvals(original.flatten(1))[0]
        assert float(largest) < 0.5  # Otherwise dividing by it might change too little to be tested.
        assert torch.allclose(layer.weight, original / largest, rtol=1e-4)
        assert torch.equal(layer.parametrizations.weight.original, original)


def test_spectral_normalisation_resumes_bit_for_bit(tmp_path: Path, train: Callable[..., str]) -> None:
    flags = {"variant": "vanilla", "batch": 8}
    options = ("width=8", "discriminator_norm=spectral")
    train(*options, **flags, steps=6, out=tmp_path / "straight")
    train(*options, **flags, steps=3, out=tmp_path / "halves")
    halfway = weights(tmp_path / "halves")
    train(*options, **flags, steps=6, out=tmp_path / "halves")
    resumed = weights(tmp_path / "halves")
    assert difference(resumed, weights(tmp_path / "straight")) == 0.0
    vectors = [name for name in resumed if name.endswith("._u")]
    assert len(vectors) == 3
    assert all(not torch.equal(resumed[name], halfway[name]) for name in vectors if resumed[name].numel() > 1)


class LinearDiscriminator(nn.Module):
    """D(x) = 0.5 · x₁ - 2 · x₂ + 1 · x₃ on three pixels: its squared gradient norm is 0.25 + 4 + 1 everywhere."""

    def forward(self, images: Tensor) -> Tensor:
        return images.flatten(1) @ torch.tensor([0.5, -2.0, 1.0], dtype=images.dtype)


class QuadraticDiscriminator(nn.Module):
    """D(x) = Σ x² / 2: its gradient at x is x."""

    def forward(self, images: Tensor) -> Tensor:
        return images.square().flatten(1).sum(1) / 2


def test_the_squared_gradient_norm_of_a_linear_discriminator_is_that_of_its_weights() -> None:
    assert float(squared_gradient_norm(LinearDiscriminator(), torch.randn(7, 1, 1, 3)).detach()) == pytest.approx(5.25)


def test_the_squared_gradient_norm_is_a_mean_over_images_and_differentiable_by_the_weights() -> None:
    images = torch.tensor([[1.0, 2.0], [3.0, 0.0]]).view(2, 1, 1, 2)
    assert float(squared_gradient_norm(QuadraticDiscriminator(), images).detach()) == pytest.approx((5 + 9) / 2)
    dense = nn.Linear(2, 1)
    nn.init.constant_(dense.weight, 3.0)
    squared_gradient_norm(lambda x: dense(x.flatten(1)).squeeze(1), images).backward()
    # The gradient of ‖w‖² is 2w.
    assert dense.weight.grad is not None
    assert dense.weight.grad.flatten().tolist() == pytest.approx([6.0, 6.0])


def test_the_squared_gradient_norm_is_float32_under_bf16() -> None:
    dense = nn.Linear(9, 1)
    nn.init.constant_(dense.weight, 1 / 3)  # In bf16 it is 0.33398.
    with torch.autocast("cpu", dtype=torch.bfloat16):
        norm = squared_gradient_norm(lambda x: dense(x.flatten(1)).squeeze(1), torch.randn(5, 1, 3, 3).bfloat16())
    assert norm.dtype == torch.float32
    assert float(norm.detach()) == pytest.approx(1, rel=1e-6)


@pytest.mark.parametrize("variant", ["vanilla", "dcgan", "lsgan", "acgan"])
def test_r1_is_on_real_images_and_r2_on_generated_ones(variant: str) -> None:
    class Discriminator(QuadraticDiscriminator):
        """`QuadraticDiscriminator`, for AC-GAN with its second head."""

        def forward(self, images: Tensor) -> Tensor:
            logits = super().forward(images)
            return (logits, torch.zeros(len(images), 10)) if variant == "acgan" else logits  # type: ignore[return-value]

    game = build(variant, "r1=3", "r2=5", "discriminator_norm=none")
    inputs = game.draw(np.random.default_rng(0), Request(count=6))
    batch = made_batch({"images": torch.full((6, 1, 8, 8), 0.5), "labels": torch.arange(6)}, inputs)
    # The generator normalises by batch statistics, so the fakes depend on the whole batch.
    fake = game.networks["generator"](**inputs).detach()
    terms = terms_of(game, "discriminator", batch, {**game.networks, "discriminator": Discriminator()})
    assert float(terms["r1"].detach()) == pytest.approx(3 / 2 * 64 * 0.25)
    assert float(terms["r2"].detach()) == pytest.approx(5 / 2 * float(fake.square().sum()) / 6, rel=1e-5)
    networks = {**game.networks, "discriminator": Discriminator()}
    without = terms_of(build(variant), "discriminator", batch, networks)
    assert without.keys() == terms.keys() - {"r1", "r2"}
    assert all(torch.equal(without[name], terms[name]) for name in without)


def test_the_relativistic_losses() -> None:
    # In the first pair the real image's logit is higher by log 3, in the second lower by log 4.
    real = torch.tensor([math.log(3), 0.5], dtype=torch.float64, requires_grad=True)
    fake = torch.tensor([0.0, 0.5 + math.log(4)], dtype=torch.float64, requires_grad=True)
    terms = RelativisticPairing().discriminator(lambda images: images, real, fake)
    # -log sigmoid(log 3) = log(1 + 1/3), and -log sigmoid(-log 4) = log(1 + 4).
    assert float(terms["relativistic"].detach()) == pytest.approx((math.log(4 / 3) + math.log(5)) / 2)
    assert float(terms["D(fake)"] - terms["D(real)"]) == pytest.approx((math.log(4) - math.log(3)) / 2)
    assert not terms["D(real)"].requires_grad
    terms["relativistic"].backward()
    # The derivative of softplus(t) is sigmoid(t): 1 / 4 at -log 3 and 4 / 5 at log 4, halved by the mean.
    assert real.grad is not None
    assert real.grad.tolist() == pytest.approx([-1 / 8, -2 / 5])
    generator = RelativisticPairing().generator(lambda images: images, real.detach(), fake.detach())
    assert float(generator["adversarial"]) == pytest.approx((math.log(4) + math.log(5 / 4)) / 2)


@pytest.mark.parametrize("variant", ["vanilla", "dcgan", "acgan"])
def test_label_smoothing_changes_the_target_of_real_images_only(variant: str) -> None:
    class Constant(nn.Module):
        """D(x) = 0.8 for every image."""

        def forward(self, images: Tensor) -> Tensor:
            logits = torch.full((len(images),), math.log(4.0))
            return (logits, torch.zeros(len(images), 10)) if variant == "acgan" else logits  # type: ignore[return-value]

    game = build(variant, "label_smoothing=0.1")
    inputs = game.draw(np.random.default_rng(0), Request(count=6))
    batch = made_batch({"images": torch.zeros(6, 1, 8, 8), "labels": torch.arange(6)}, inputs)
    terms = terms_of(game, "discriminator", batch, {**game.networks, "discriminator": Constant()})
    assert float(terms["real"]) == pytest.approx(-0.9 * math.log(0.8) - 0.1 * math.log(0.2))
    assert float(terms["fake"]) == pytest.approx(-math.log(0.2))


@pytest.mark.parametrize(
    ("variant", "assignment", "reason"),
    [
        ("lsgan", "label_smoothing=0.1", "it softens the labels of a cross-entropy, and least squares"),
        ("wgan", "label_smoothing=0.1", "it softens the labels of a cross-entropy, and a critic"),
        ("lsgan", "objective=relativistic", "least squares is this variant's objective"),
        ("wgan", "objective=relativistic", "the Wasserstein distance is this variant's"),
        ("acgan", "objective=relativistic", "its source head scores each image on its own"),
        ("wgan", "r1=1", "penalty=gradient is this variant's gradient penalty"),
        ("wgan", "r2=1", "penalty=gradient is this variant's gradient penalty"),
    ],
)
def test_options_of_other_variants_are_rejected_with_the_reason(variant: str, assignment: str, reason: str) -> None:
    name = assignment.partition("=")[0]
    with pytest.raises(UserError, match=rf"^{name}: .*option of {variant}.* {re.escape(reason)}"):
        make_job(assignment, variant=variant)


@pytest.mark.parametrize("variant", ["vanilla", "dcgan"])
def test_the_objective_selects_the_loss(variant: str, tmp_path: Path, train: Callable[..., str]) -> None:
    train("objective=relativistic", "width=4", variant=variant, batch=8, steps=1, out=tmp_path)
    logged = metrics(tmp_path)[-1]
    assert "discriminator/relativistic" in logged
    assert "discriminator/real" not in logged


RELATIVISTIC = "is not allowed. It must be {} with objective=relativistic, whose only term compares pairs"
NO_BATCH_NORM = "is not allowed. It must be 0 with batch normalisation in the discriminator, which makes the gradient"


@pytest.mark.parametrize(
    ("variant", "assignments", "message"),
    [
        (
            "vanilla",
            ("objective=relativistic", "label_smoothing=0.1"),
            f"label_smoothing: 0.1 {RELATIVISTIC.format(0.0)}",
        ),
        (
            "vanilla",
            ("objective=relativistic", "discriminator_weight=0.5"),
            f"discriminator_weight: 0.5 {RELATIVISTIC.format(1.0)}",
        ),
        (
            "vanilla",
            ("objective=relativistic", "generator_fakes=2"),
            f"generator_fakes: 2 {RELATIVISTIC.format(1)}",
        ),
        ("dcgan", ("r1=0.1",), f"r1: 0.1 {NO_BATCH_NORM}"),
        ("lsgan", ("r2=0.1",), f"r2: 0.1 {NO_BATCH_NORM}"),
        ("vanilla", ("r1=0.1", "discriminator_norm=batch"), f"r1: 0.1 {NO_BATCH_NORM}"),
        ("acgan", ("r1=0.1", "discriminator=[{conv: [4, 3]}, batch_norm]"), f"r1: 0.1 {NO_BATCH_NORM}"),
        (
            "wgan",
            ("penalty=gradient", "discriminator_norm=batch"),
            "penalty: 'gradient' is not allowed. It must be clip with batch normalisation in the discriminator",
        ),
        (
            "wgan",
            ("penalty=gradient", "discriminator=[flatten, batch_norm, {dense: 1}]"),
            "penalty: 'gradient' is not allowed. It must be clip with batch normalisation in the discriminator",
        ),
        (
            "wgan",
            ("discriminator_norm=spectral",),
            "penalty: 'clip' is not allowed. It must be gradient with discriminator_norm=spectral",
        ),
    ],
)
def test_options_that_cannot_be_combined(variant: str, assignments: tuple[str, ...], message: str) -> None:
    with pytest.raises(UserError, match=re.escape(message)):
        make_job(*assignments, variant=variant)


def test_a_layer_list_without_batch_normalisation_allows_a_gradient_penalty() -> None:
    make_job("r1=0.1", "discriminator=[flatten, {dense: 1}]", variant="dcgan")
