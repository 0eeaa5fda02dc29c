"""CycleGAN: its losses on networks that can be computed by hand, and what it builds."""

import pytest
import torch
from gan_core_cyclegan import CycleganOptions, build, variant
from pydantic import ValidationError
from torch import Tensor, nn

from gan_core import Batch, DataSpec, Game, ImageField, Options, Table
from gan_core.testing import made_batch
from gan_core.testing import terms_of as loss_terms


def domains(a: tuple[int, int, int] = (3, 16, 16), b: tuple[int, int, int] = (3, 16, 16)) -> DataSpec:
    tables = {}
    for count, (name, (channels, height, width)) in enumerate({"a": a, "b": b}.items(), start=5):
        tables[name] = Table(fields={name: ImageField(channels=channels, height=height, width=width)}, count=count)
    return DataSpec(name="photographs", tables=tables)


def small(**options: object) -> CycleganOptions:
    return CycleganOptions.model_validate({**variant.small, **options})


class Linear(nn.Module):
    """Returns scale · x + shift."""

    def __init__(self, scale: float, shift: float = 0.0) -> None:
        super().__init__()
        self.scale, self.shift = nn.Parameter(torch.tensor(scale)), shift

    def forward(self, x: Tensor) -> Tensor:
        return self.scale * x + self.shift


NETWORKS = {
    "generator_ab": Linear(0.5),
    "generator_ba": Linear(1.0, 0.25),
    "discriminator_a": Linear(3.0),
    "discriminator_b": Linear(2.0),
}


class Exchanges:
    """A `Randomness` with which a full pool exchanges every image with its first."""

    def uniform(self, *shape: int) -> Tensor:
        """Returns zeros for two rows."""
        return torch.zeros(2, *shape)

    def normal(self, *shape: int) -> Tensor:
        """Returns zeros for two rows."""
        return self.uniform(*shape)


def batch_of(a: float, b: float) -> Batch:
    return made_batch({"a": torch.full((2, 3, 16, 16), a), "b": torch.full((2, 3, 16, 16), b)}, {}, random=Exchanges())


def terms_of(game: Game, phase: str, batch: Batch) -> dict[str, float]:
    return {name: float(term.detach()) for name, term in loss_terms(game, phase, batch, NETWORKS).items()}


def test_the_generators_terms_by_hand() -> None:
    # a = 0.4 and b = -0.2. G(a) = 0.5 · 0.4 = 0.2 and F(G(a)) = 0.45; F(b) = -0.2 + 0.25 = 0.05 and G(F(b)) = 0.025.
    expected = {
        "adversarial_b": (2 * 0.2 - 1) ** 2,
        "cycle_a": 10 * (0.45 - 0.4),
        "identity_b": 10 * 0.5 * abs(0.5 * -0.2 - -0.2),
        "adversarial_a": (3 * 0.05 - 1) ** 2,
        "cycle_b": 10 * (0.025 - -0.2),
        "identity_a": 10 * 0.5 * 0.25,
    }
    batch = batch_of(0.4, -0.2)
    assert terms_of(build(small(), domains()), "generators", batch) == pytest.approx(expected, abs=1e-6)
    weighted = terms_of(build(small(cycle=3, identity=2), domains()), "generators", batch)
    assert (weighted["cycle_b"], weighted["identity_b"]) == pytest.approx((3 * 0.225, 3 * 2 * 0.1), abs=1e-6)
    without = terms_of(build(small(identity=0), domains()), "generators", batch)
    assert without == {name: pytest.approx(expected[name], abs=1e-6) for name in without}
    assert set(without) == {"adversarial_a", "adversarial_b", "cycle_a", "cycle_b"}


def test_the_discriminators_terms_by_hand_with_older_images() -> None:
    game = build(small(pool=2), domains())
    first = terms_of(game, "discriminators", batch_of(0.4, -0.2))
    # Half of (D(b) - 1)² + D(G(a))² with D(b) = -0.4, D(G(a)) = 0.4; and for a with D(a) = 1.2, D(F(b)) = 0.15.
    expected = {"real_b": 1.4**2 / 2, "fake_b": 0.4**2 / 2, "real_a": 0.2**2 / 2, "fake_a": 0.15**2 / 2}
    assert first == pytest.approx(expected, abs=1e-6)
    # The pools of two images are full: of the two new ones, the first is exchanged with an older one, and the second
    # with the first. G(0.8) = 0.4 and F(0.6) = 0.85, of which D are 0.8 and 2.55.
    second = terms_of(game, "discriminators", batch_of(0.8, 0.6))
    assert second["fake_b"] == pytest.approx((0.4**2 + 0.8**2) / 4, abs=1e-6)
    assert second["fake_a"] == pytest.approx((0.15**2 + 2.55**2) / 4, abs=1e-6)
    assert second["real_b"] == pytest.approx(0.2**2 / 2, abs=1e-6)


def test_outputs_translate_there_and_back() -> None:
    game = build(small(), domains())
    image = torch.full((1, 3, 16, 16), 0.4)
    found = game.outputs["b"].generate(NETWORKS, {"a": image}, Options())
    assert isinstance(found, dict)
    assert {name: round(float(each.detach().mean()), 6) for name, each in found.items()} == {
        "b": 0.2,
        "reconstructed": 0.45,
    }
    assert list(game.outputs) == ["b", "a"]
    assert (game.outputs["a"].given, game.outputs["a"].like) == (("b",), "a")
    assert game.outputs["a"].columns == ("b", "a", "reconstructed")


@pytest.mark.parametrize(("side", "generator"), [(128, 7_837_699), (256, 11_378_179)])
def test_the_defaults_are_the_paper_s(side: int, generator: int) -> None:
    with torch.device("meta"):
        game = build(CycleganOptions(), domains((3, side, side), (3, side, side)))
    counts = {name: sum(p.numel() for p in network.parameters()) for name, network in game.networks.items()}
    # tests/test_image_blocks.py has the sums over the layers: 7.838 M with 6 blocks, 11.378 M with 9, and 2.765 M.
    assert counts == {
        **dict.fromkeys(("generator_ab", "generator_ba"), generator),
        **dict.fromkeys(("discriminator_a", "discriminator_b"), 2_764_737),
    }
    for phase in game.phases:
        assert not isinstance(phase.optimizer, str)
        group = phase.optimizer([nn.Parameter(torch.zeros(1))]).param_groups[0]
        assert (group["lr"], group["betas"]) == (2e-4, (0.5, 0.999))
    assert [state.size for state in game.state.values()] == [50, 50]  # type: ignore[attr-defined]
    assert variant.defaults == {"batch": 1, "epochs": 200, "lr_schedule": "linear", "ema_kimg": 0}


@pytest.mark.parametrize(
    ("a", "b", "message"),
    [
        ((3, 16, 16), (3, 16, 32), r"one size.* a \(3 x 16 x 16\), b \(3 x 16 x 32\): pass --image-size PIXELS"),
        ((1, 16, 16), (3, 16, 16), "identity loss needs images of one colour.*--channels 3, or --set identity=0"),
        ((3, 18, 18), (3, 18, 18), "multiples of 4.*--image-size 16"),
    ],
)
def test_data_that_does_not_fit_is_refused(a: tuple[int, int, int], b: tuple[int, int, int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build(small(), domains(a, b))


def test_images_too_small_for_the_patches_are_refused() -> None:
    with pytest.raises(ValueError, match=r"patch_layers: .* 16 x 16 are too small.*at least 24 pixels. Use .* fewer"):
        build(CycleganOptions(), domains())
    build(small(patch_layers=2), domains())


def test_domains_of_other_colours_train_without_the_identity_loss() -> None:
    game = build(small(identity=0), domains((1, 16, 24), (3, 16, 24)))
    batch = made_batch({"a": torch.rand(2, 1, 16, 24), "b": torch.rand(2, 3, 16, 24)}, {})
    assert len(loss_terms(game, "generators", batch)) == 4
    with pytest.raises(ValidationError):
        CycleganOptions(identity=-1)
