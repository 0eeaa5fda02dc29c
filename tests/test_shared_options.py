"""Options that variants share: what each does, against values worked out by hand, and what goes with what."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.utils.parametrize import is_parametrized

from gan_core.errors import UserError
from gan_core.game.game import Game
from tests.conftest import difference, make_job, weights

VARIANTS = ("vanilla", "dcgan", "acgan", "lsgan", "wgan")


def build(variant: str, *assignments: str) -> Game:
    """Makes a variant's game for the digits, in float32."""
    return make_job(*assignments, variant=variant).build()


def rates(game: Game) -> dict[str, float]:
    """Returns the learning rate of every phase's optimizer."""
    return {
        phase.name: phase.optimizer(game.networks[phase.trains[0]].parameters()).param_groups[0]["lr"]
        for phase in game.phases
    }


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_discriminator_may_have_a_learning_rate_of_its_own(variant: str) -> None:
    name = "critic" if variant == "wgan" else "discriminator"
    both = rates(build(variant, "lr=0.003"))
    assert both == {name: 0.003, "generator": 0.003}
    apart = rates(build(variant, "lr=0.003", f"{name}_lr=0.007"))
    assert apart == {name: 0.007, "generator": 0.003}


def layers(network: nn.Module) -> list[nn.Module]:
    """Returns the layers with weights."""
    return [module for module in network.modules() if isinstance(module, nn.Linear | nn.Conv2d | nn.ConvTranspose2d)]


def judge(game: Game) -> nn.Module:
    """Returns the network that judges."""
    return next(network for name, network in game.networks.items() if name != "generator")


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_discriminator_s_normalisation(variant: str) -> None:
    extra = ("penalty=gradient",) if variant == "wgan" else ()
    spectral = judge(build(variant, "discriminator_norm=spectral", *extra))
    assert all(is_parametrized(layer, "weight") for layer in layers(spectral))
    plain = judge(build(variant, "discriminator_norm=none", *extra))
    assert not any(is_parametrized(layer, "weight") or isinstance(layer, _BatchNorm) for layer in plain.modules())
    batch = judge(build(variant, "discriminator_norm=batch"))
    assert any(isinstance(layer, _BatchNorm) for layer in batch.modules())
    paper = judge(build(variant))
    assert any(isinstance(layer, _BatchNorm) for layer in paper.modules()) == (variant in ("dcgan", "lsgan"))


def test_spectral_normalisation_against_a_singular_value_decomposition() -> None:
    stack = "discriminator=[{conv: [6, 3]}, tanh, flatten, {dense: 1}]"
    game = build("vanilla", "discriminator_norm=spectral", stack, "initialisation=normal")
    discriminator = game.networks["discriminator"]
    convolution, dense = layers(discriminator)
    before = [layer.parametrizations.weight.original.detach().clone() for layer in (convolution, dense)]
    for _ in range(100):
        discriminator(torch.zeros(2, 1, 8, 8))
    for layer, original in zip((convolution, dense), before, strict=True):
        largest = torch.linalg.svdvals(original.flatten(1))[0]
        assert float(largest) < 0.5  # So that dividing by it changes much.
        assert torch.allclose(layer.weight, original / largest, rtol=1e-4)
        assert torch.equal(layer.parametrizations.weight.original, original)


def test_spectral_normalisation_resumes_bit_for_bit(tmp_path: Path, train: Callable[..., str]) -> None:
    flags = {"variant": "dcgan", "batch": 8}
    options = ("width=4", "discriminator_norm=spectral")
    train(*options, **flags, steps=6, out=tmp_path / "straight")
    train(*options, **flags, steps=3, out=tmp_path / "halves")
    halfway = weights(tmp_path / "halves")
    train(*options, **flags, steps=6, out=tmp_path / "halves")
    resumed = weights(tmp_path / "halves")
    assert difference(resumed, weights(tmp_path / "straight")) == 0.0
    vectors = [name for name in resumed if name.endswith("._u")]
    assert len(vectors) == 3
    assert all(not torch.equal(resumed[name], halfway[name]) for name in vectors if resumed[name].numel() > 1)


@pytest.mark.parametrize(
    ("variant", "assignments", "message"),
    [
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
def test_options_that_exclude_each_other(variant: str, assignments: tuple[str, ...], message: str) -> None:
    with pytest.raises(UserError, match=re.escape(message)):
        make_job(*assignments, variant=variant)
