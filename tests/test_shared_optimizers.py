"""Phases that share an optimizer: lazy regularisation, against a loop by hand and the numbers of StyleGAN2."""

from pathlib import Path

import pytest
import torch
from accelerate import Accelerator
from torch.optim import Adam

from gan_core import Batch, Networks, Terms, adam
from gan_core.training.phase_module import PhaseModule
from gan_core.training.phase_trainer import PhaseTrainer
from tests.conftest import difference, gan_core, weights
from tests.test_plugin_loading import install
from tests.test_updates import CONSTANT, batch, scale, weight
from tests.toys import toy_game, toy_phase

PENALISED = """
from dataclasses import replace
from gan_core import Phase, Variant, adam, squared_gradient_norm
from gan_core_vanilla import variant as vanilla

class Options(vanilla.options):
    gamma: float = 1.0
    \"\"\"Weight of the penalty.\"\"\"
    shared: bool = True
    \"\"\"Whether the penalty shares the optimizer of the discriminator.\"\"\"

def build(options, data):
    game = vanilla.build(options, data)
    real, generator = game.phases
    def penalty(n, b):
        return {"r1": 4 * options.gamma * squared_gradient_norm(lambda x: n["discriminator"](x), b.images)}
    optimizer = "discriminator" if options.shared else adam(1e-3)
    lazy = Phase(name="penalty", trains=("discriminator",), loss=penalty, every=4, optimizer=optimizer)
    real = replace(real, optimizer=adam(1e-3, (0.0, 0.99), lazy_every=4))
    return replace(game, phases=[lazy, real, generator])

variant = Variant(api=2, options=Options, build=build)
"""


@pytest.fixture
def penalised(tmp_path: Path) -> Path:
    install(tmp_path, distribution="penalised-gan", name="penalised", code=PENALISED)
    return tmp_path


def train(root: Path, name: str, *options: str, steps: int = 10, processes: int | None = None) -> Path:
    words = [word for option in ("width=4", *options) for word in ("--set", option)]
    flags = ("--batch", 16, "--precision", "fp64", "--steps", steps, "--out", root / name)
    gan_core("train", "--variant", "penalised", *flags, *words, processes=processes, PYTHONPATH=str(root))
    return root / name


def test_the_steps_are_those_of_one_adam() -> None:
    def real(networks: Networks, batch: Batch) -> Terms:
        return {"real": (networks["discriminator"](batch.images) - 2).square().mean()}

    def penalty(networks: Networks, batch: Batch) -> Terms:
        return {"penalty": 3 * scale(networks, "discriminator").weight.square()}

    game = toy_game(
        toy_phase("discriminator", real, optimizer=adam(0.1, (0.5, 0.9), lazy_every=3)),
        toy_phase("penalty", penalty, trains=("discriminator",), optimizer="discriminator", every=3),
    )
    expected = torch.ones((), requires_grad=True)
    optimizer = Adam([expected], lr=0.1 * 3 / 4, betas=(0.5 ** (3 / 4), 0.9 ** (3 / 4)))

    def step(loss: torch.Tensor) -> None:
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    modules = [PhaseModule(phase, game.networks) for phase in game.phases]
    main = PhaseTrainer(modules[0], Accelerator(cpu=True), CONSTANT, None)
    lazy = PhaseTrainer(modules[1], Accelerator(cpu=True), CONSTANT, None, shared=main.optimizer)
    for number in range(7):
        value = 1.0 + number
        main.update([batch(value)], 0)
        step((expected * value - 2).square())
        if number % 3 == 0:
            lazy.update([batch(value)], 0)
            step(3 * expected.square())
        assert weight(game, "discriminator") == pytest.approx(float(expected.detach()), abs=1e-6)


def test_the_correction_is_that_of_stylegan2() -> None:
    # Its lr is 0.002, its betas are (0, 0.99); the interval is 16 for the discriminator, and 4 for the generator.
    for every, lr, beta in ((16, 0.0018823529, 0.9905855), (4, 0.0016, 0.9919919)):
        made = adam(0.002, (0.0, 0.99), lazy_every=every)([torch.nn.Parameter(torch.ones(1))])
        assert made.defaults["lr"] == pytest.approx(lr, rel=1e-6)
        assert made.defaults["betas"] == pytest.approx((0.0, beta), rel=1e-6)
    with pytest.raises(ValueError, match="lazy_every is 0"):
        adam(1e-3, lazy_every=0)


def test_the_weight_of_a_lazy_penalty_counts(penalised: Path) -> None:
    shared = [weights(train(penalised, f"shared{gamma}", f"gamma={gamma}")) for gamma in (1, 1000)]
    own = [weights(train(penalised, f"own{gamma}", f"gamma={gamma}", "shared=false")) for gamma in (1, 1000)]
    assert difference(*shared) > 1e-2
    assert difference(*own) < difference(*shared) / 5


def test_moments_are_saved_once_and_the_run_is_exact(penalised: Path) -> None:
    straight = train(penalised, "straight")
    saved = sorted(file.name for file in max((straight / "checkpoints").iterdir()).glob("optimizer-*"))
    assert saved == ["optimizer-discriminator.pt", "optimizer-generator.pt"]
    train(penalised, "resumed", steps=6)
    resumed = train(penalised, "resumed")
    assert difference(weights(straight), weights(resumed)) == 0
    two = train(penalised, "two", processes=2)
    assert difference(weights(straight), weights(two)) < 1e-9


@pytest.mark.parametrize(
    ("owner", "trains", "message"),
    [
        ("generatr", ("discriminator",), "shares the optimizer of 'generatr', but the phases with an optimizer of"),
        ("lazy", ("discriminator",), r"are \['discriminator'\]"),
        ("discriminator", ("generator",), "shares the optimizer of 'discriminator', which does not train generator"),
    ],
)
def test_an_optimizer_that_cannot_be_shared_is_an_error(owner: str, trains: tuple[str, ...], message: str) -> None:
    def loss(networks: Networks, batch: Batch) -> Terms:
        return {}

    with pytest.raises(ValueError, match=message):
        toy_game(toy_phase("discriminator", loss), toy_phase("lazy", loss, trains=trains, optimizer=owner))
