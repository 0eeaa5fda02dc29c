"""Options that variants share: what each does, against values worked out by hand, and what goes with what."""

import pytest

from gan_core.game.game import Game
from tests.conftest import make_job

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
    judge = "critic" if variant == "wgan" else "discriminator"
    both = rates(build(variant, "lr=0.003"))
    assert both == {judge: 0.003, "generator": 0.003}
    apart = rates(build(variant, "lr=0.003", f"{judge}_lr=0.007"))
    assert apart == {judge: 0.007, "generator": 0.003}
