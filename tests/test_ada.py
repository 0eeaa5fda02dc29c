"""The probability p of ADA, and games whose discriminator sees augmented images, against computations by hand."""

import math
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from gan_core import (
    Ada,
    AugmentOptions,
    Batch,
    DataSpec,
    DiffAugment,
    Game,
    Networks,
    Phase,
    RelativisticPairing,
    Terms,
    adam,
    augmented,
    differentiable,
    generated,
    gradient_penalties,
    normal_latents,
    two_player,
)
from gan_core.errors import UserError
from gan_core.precision import tf32_restored
from gan_core.testing import made_batch, terms_of
from tests.conftest import difference, make_job, metrics, weights


def test_p_against_hand_arithmetic() -> None:
    """Karras et al. 2020, section 3.1: every four minibatches, by a step that takes p from 0 to 1 in 500,000 images."""
    ada = Ada(4, 4)
    seen = []
    for sign in (1.0, 0.5, 0.5, 0.5, 0.6, 0.7, 0.8, 0.7, *[0.5] * 8, *[0.75] * 4):
        ada.adapt(torch.tensor(sign), 100)
        seen.append(float(ada.p))
    # The means of four are 0.625, 0.7, 0.5, 0.5 and 0.75: up, up, down, down, up, by 4 · 100 / 500,000.
    expected = [n * 0.0008 for n in (*[0] * 3, *[1] * 4, *[2] * 4, *[1] * 4, *[0] * 4, 1)]
    assert seen == pytest.approx(expected, abs=1e-9)
    for _ in range(12):
        ada.adapt(torch.tensor(-1.0), 100)
    assert float(ada.p) == 0.0
    fixed = Ada(4, 4, p=0.3, target=None)
    for _ in range(8):
        fixed.adapt(torch.tensor(1.0), 100)
    assert float(fixed.p) == pytest.approx(0.3)


def test_at_its_target_p_stays_whatever_the_order_of_the_sum() -> None:
    # 20 images, of which 16 have sign 1 and 4 have sign -1: the mean is 0.6, which no float is.
    for parts in ([0.6] * 4, [0.8, 0.4, 0.5, 0.7], [0.6 + 1e-7] * 4):
        ada = Ada(4, 4, p=0.5)
        for sign in parts:
            ada.adapt(torch.tensor(sign), 20)
        assert float(ada.p) == 0.5


class Mean(nn.Module):
    """D(x) is the sum of the pixels times a weight; it remembers what it has been given."""

    def __init__(self, weight: float = 1.0) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor(weight))
        self.given: list[Tensor] = []

    def forward(self, images: Tensor) -> Tensor:
        self.given.append(images)
        return self.weight * images.flatten(1).sum(1)


class Flat(nn.Module):
    """G(z): 4 x 4 pixels of the value of z."""

    def forward(self, z: Tensor) -> Tensor:
        return z.view(-1, 1, 1, 1).expand(-1, 1, 4, 4)


class Both:
    """A loss that only asks the discriminator about both, and adds R1."""

    def discriminator(self, D: Callable[[Tensor], Tensor], real: Tensor, fake: Tensor) -> Terms:
        real = differentiable(real, 1.0)
        on_real = D(real)
        penalty = gradient_penalties(D, real, fake, 2.0, 0.0, logits_real=on_real)
        return {"real": on_real.mean(), "fake": D(fake).mean(), **penalty}

    def generator(self, D: Callable[[Tensor], Tensor], real: Tensor, fake: Tensor) -> Terms:
        return {"adversarial": D(fake).mean()}


def small_game(**settings: object) -> Game:
    return two_player(
        generator=Flat(),
        discriminator=Mean(),
        loss=Both(),
        draw=normal_latents(1),
        generator_optimizer=adam(1e-3),
        discriminator_optimizer=adam(1e-3),
        **settings,  # type: ignore[arg-type]
    )


def batch_of(real: Tensor, z: Tensor) -> Batch:
    return made_batch({"images": real}, {"z": z})


def test_real_images_and_fakes_are_augmented_in_both_phases() -> None:
    game = augmented(small_game(), DiffAugment(["cutout"]))
    critic = game.networks["discriminator"]
    assert isinstance(critic, Mean)
    batch = batch_of(torch.ones(64, 1, 4, 4), torch.full((64, 1), 3.0))
    for phase, values in (("discriminator", [1.0, 3.0]), ("generator", [3.0])):
        critic.given.clear()
        terms = terms_of(game, phase, batch)
        assert [float(images.detach().max()) for images in critic.given] == values
        for images in critic.given:
            zeros = (images == 0).sum((1, 2, 3))
            # A rectangle of 2 x 2 pixels, whose centre may be at the edge, at another place in each image.
            assert set(zeros.tolist()) == {1, 2, 4}
        assert "sign(real)" not in terms
        assert len({(images == 0).numpy().tobytes() for images in critic.given}) == len(values)  # Each call draws anew.
    assert not game.state


@tf32_restored()
def test_augmentation_is_computed_in_float32_under_autocast() -> None:
    seen = []
    real, fake = (torch.rand(8, 1, 4, 4, generator=torch.Generator().manual_seed(seed)) for seed in (0, 1))
    for autocast in (False, True):
        critic = Mean()
        game = augmented(small_game(), Ada(4, 4, p=1.0))
        batch = replace(batch_of(real, torch.zeros(8, 1)), fake={"images": fake.bfloat16() if autocast else fake})
        with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
            game.phases[0].loss({**game.networks, "discriminator": critic}, batch)
        seen.append([images.detach() for images in critic.given])
    assert torch.equal(seen[0][0], seen[1][0])
    assert seen[1][-1].dtype == torch.float32


def test_r1_is_by_the_image_before_it_is_augmented() -> None:
    """∇ₓ D(T(x)) of D(x) = Σ x is 1 where T keeps a pixel and 0 where it is cut out: its square is what is left."""
    game = augmented(small_game(), DiffAugment(["cutout"]))
    critic = game.networks["discriminator"]
    assert isinstance(critic, Mean)
    terms = terms_of(game, "discriminator", batch_of(torch.ones(32, 1, 4, 4), torch.ones(32, 1)))
    kept = (critic.given[0] != 0).sum() / 32
    assert 12 < float(kept) < 15
    assert float(terms["r1"].detach()) == pytest.approx(float(kept))
    terms["r1"].backward()
    assert float(critic.weight.grad or 0) == pytest.approx(2 * float(kept))


def test_the_sign_of_the_discriminator_on_real_images_moves_p() -> None:
    ada = Ada(4, 4, [], p=0.25, kimg=0.1)
    game = augmented(small_game(), ada, boundary=0.5)
    real = torch.zeros(10, 1, 4, 4)
    real[:7] = 1.0
    real[7] = 0.5 / 16
    batch = batch_of(real, torch.full((10, 1), -9.0))
    phase = game.phases[0]
    terms = terms_of(game, "discriminator", batch)
    # Seven above the boundary, one on it, two below.
    assert float(terms["sign(real)"]) == pytest.approx(0.5)
    assert phase.after is not None
    with torch.no_grad():
        logged = [phase.after(game.networks, {"sign(real)": torch.tensor(0.9)}, batch) for _ in range(4)]
    assert [float((each or {})["p"]) for each in logged] == pytest.approx([0.25, 0.25, 0.25, 0.65])
    assert game.state == {"augmentation": ada}
    assert set(ada.state_dict()) == {"p", "signs", "updates"}
    assert game.phases[1].after is None


def test_the_first_phase_that_trains_the_discriminator_keeps_its_own_after() -> None:
    def asks_the_discriminator(networks: Networks, batch: Batch) -> Terms:
        return {"real": networks["critic"](batch.images).mean()}

    def twice(networks: Networks, terms: Terms, batch: Batch) -> Terms:
        return {"twice": 2 * terms["real"]}

    phases = [
        Phase(name=name, trains=("critic",), loss=asks_the_discriminator, optimizer=adam(1e-3), after=after)
        for name, after in (("main", twice), ("lazy", None))
    ]
    networks = {"generator": Flat(), "critic": Mean()}
    plain = Game(networks=networks, phases=phases, draw=normal_latents(1), outputs={"images": generated()})
    game = augmented(plain, Ada(4, 4), network="critic")
    batch = batch_of(torch.ones(3, 1, 4, 4), torch.ones(3, 1))
    terms = terms_of(game, "main", batch)
    assert game.phases[0].after is not None
    after = game.phases[0].after(networks, terms, batch) or {}
    assert after.keys() == {"twice", "p"}
    assert terms_of(game, "lazy", batch).keys() == {"real"}
    assert game.phases[1].after is None


def test_a_discriminator_that_never_sees_the_real_images_alone_is_an_error() -> None:
    class Together(Both):
        def discriminator(self, D: Callable[[Tensor], Tensor], real: Tensor, fake: Tensor) -> Terms:
            return {"both": D(torch.cat([real, fake])).mean()}

    game = two_player(
        generator=Flat(),
        discriminator=Mean(),
        loss=Together(),
        draw=normal_latents(1),
        generator_optimizer=adam(1e-3),
        discriminator_optimizer=adam(1e-3),
    )
    with pytest.raises(UserError, match="does not call 'discriminator' on the batch's images"):
        terms_of(augmented(game, Ada(4, 4)), "discriminator", batch_of(torch.ones(3, 1, 4, 4), torch.ones(3, 1)))


def test_without_augmentation_the_game_is_the_same() -> None:
    game, data = small_game(), DataSpec.of_images(name="made up", image_size=4, channels=1, classes=0, count=9)
    assert AugmentOptions().augmented(game, data) is game


def test_p_is_logged_saved_and_resumed_bit_for_bit(tmp_path: Path, train: Callable[..., str]) -> None:
    options = ("width=8", "augment=ada", "augment_kimg=0.1", "augment_target=-0.9", "log_every=0.008", "precision=fp64")
    flags = {"variant": "vanilla", "batch": 8}
    train(*options, **flags, steps=10, out=tmp_path / "straight")
    train(*options, **flags, steps=6, out=tmp_path / "halves")
    train(*options, **flags, steps=10, out=tmp_path / "halves")
    straight = weights(tmp_path / "straight")
    assert difference(weights(tmp_path / "halves"), straight) == 0.0
    lines = metrics(tmp_path / "straight")
    logged = [line["discriminator/p"] for line in lines if "discriminator/p" in line]
    signs = [line["discriminator/sign(real)"] for line in lines if "discriminator/p" in line]
    assert len(logged) == 10
    # 4 · 8 / 100 after updates 4 and 8, whose signs are above -0.9.
    assert logged == pytest.approx([0.0] * 3 + [0.32] * 4 + [0.64] * 3)
    assert all(-1 <= sign <= 1 for sign in signs)


@pytest.mark.parametrize(
    ("variant", "assignments", "message"),
    [
        ("dcgan", ("augment_p=0.1",), "augment_p: 0.1 is not allowed. It must be 0.0 with augment=none"),
        ("dcgan", ("augment=diffaug", "augment_target=0.5"), "It must be 0.6 with augment=diffaug"),
        ("dcgan", ("augment=ada", "augment_operations=[color]"), "It must be some of pixel, geometric, colour"),
        ("dcgan", ("augment=ada", "augment_operations=[xlfip]"), "hue, saturation (Did you mean 'xflip'?)"),
        ("dcgan", ("augment=diffaug", "augment_operations=[]"), "It must be some of colour, translation, cutout"),
        ("dcgan", ("augment_operations=[cutout]",), "It must be null with augment=none"),
        ("dcgan", ("augment=ada", "augment_target=null"), "It must be a number with augment_p=0"),
        ("vanilla", ("augment=ada", "objective=relativistic"), "It must be null with objective=relativistic"),
        ("wgan", ("augment=ada", "augment_p=0.2", "augment_target=0.6"), "It must be null: only differences"),
        ("wgan", ("augment=ada",), "It must be a number with augment_p=0"),
    ],
)
def test_options_that_cannot_be_combined(variant: str, assignments: tuple[str, ...], message: str) -> None:
    with pytest.raises(UserError, match=re.escape(message)):
        make_job(*assignments, variant=variant)


@pytest.mark.parametrize("variant", ["vanilla", "dcgan", "lsgan", "acgan", "wgan"])
@pytest.mark.parametrize("kind", ["diffaug", "ada"])
def test_every_two_player_variant_can_be_augmented(variant: str, kind: str) -> None:
    fixed = ("augment_p=0.5", *(["augment_target=null"] if variant == "wgan" else [])) if kind == "ada" else ()
    game = make_job(f"augment={kind}", *fixed, variant=variant).build()
    plain = make_job(variant=variant).build()
    torch.manual_seed(0)
    images = torch.rand(16, 1, 8, 8) * 2 - 1
    inputs = {"z": torch.randn(16, 64 if variant == "vanilla" else 100)}
    inputs |= {"labels": torch.arange(16) % 10} if variant == "acgan" else {}
    batch = made_batch({"images": images, "labels": torch.arange(16) % 10}, inputs)
    for phase in ("critic" if variant == "wgan" else "discriminator", "generator"):
        with torch.no_grad():
            changed, same = (terms_of(each, phase, batch, plain.networks) for each in (game, plain))
        assert any(not math.isclose(float(changed[name]), float(same[name]), rel_tol=1e-4) for name in same)


def test_relativistic_losses_count_the_real_images_once() -> None:
    game = two_player(
        generator=Flat(),
        discriminator=Mean(),
        loss=RelativisticPairing(),
        draw=normal_latents(1),
        generator_optimizer=adam(1e-3),
        discriminator_optimizer=adam(1e-3),
    )
    changed = augmented(game, Ada(4, 4, p=0.1, target=None))
    batch = batch_of(torch.ones(4, 1, 4, 4), torch.ones(4, 1))
    assert "sign(real)" in terms_of(changed, "discriminator", batch)
    assert "sign(real)" not in terms_of(changed, "generator", batch)
