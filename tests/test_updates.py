"""The update of a phase: trained parameters, sums and averages of terms, skipped steps. Numbers computed by hand."""

import math
from collections.abc import Callable
from copy import deepcopy
from functools import partial

import pytest
import torch
from accelerate import Accelerator
from torch import nn

from gan_core import Batch, Game, Networks, Terms, adam
from gan_core.errors import NotFiniteError
from gan_core.testing import made_batch
from gan_core.training.meter import Meter
from gan_core.training.phase_module import PhaseModule
from gan_core.training.phase_trainer import PhaseTrainer, Update
from gan_core.training.schedule import Schedule
from gan_core.training.snapshot import Snapshot
from tests.toys import Scale, toy_game, toy_phase

CONSTANT = Schedule(kind="constant", begin=0, end=1, final=0.0)


def batch(*pixels: float) -> Batch:
    """Returns a batch with one image of one pixel per argument."""
    images = torch.tensor(pixels).view(-1, 1, 1, 1)
    return made_batch({"images": images}, {"z": torch.ones_like(images)})


def trainer(
    game: Game, *, clip_norm: float | None = None, lr: Schedule = CONSTANT, skips: Callable[..., object] | None = None
) -> PhaseTrainer:
    return PhaseTrainer(PhaseModule(game.phases[0], game.networks), Accelerator(cpu=True), lr, clip_norm, skips)  # type: ignore[arg-type]


def scale(networks: Networks, name: str) -> Scale:
    network = networks[name]
    assert isinstance(network, Scale)
    return network


def weight(game: Game, name: str) -> float:
    return float(scale(game.networks, name).weight.detach())


def product(networks: Networks, batch: Batch) -> Terms:
    """mean(d · g · x): its gradient is g · mean(x) for d and d · mean(x) for g."""
    both = networks["discriminator"](networks["generator"](batch.images))
    return {"product": both.mean(), "seen": both.detach().mean() + 5}


def test_an_update_trains_only_the_phase_s_networks_by_terms_that_require_a_gradient() -> None:
    game = toy_game(toy_phase("discriminator", product), toy_phase("generator", product))
    modules = [PhaseModule(phase, game.networks) for phase in game.phases]
    first, second = (PhaseTrainer(module, Accelerator(cpu=True), CONSTANT, None) for module in modules)
    terms = first.update([batch(1.0, 3.0)], 0).terms
    assert weight(game, "discriminator") == pytest.approx(1 - 0.1 * 2.0)
    assert weight(game, "generator") == 1.0
    assert scale(game.networks, "generator").weight.grad is None
    assert {name: float(term) for name, term in terms.items()} == {"product": 2.0, "seen": 7.0, "gradient norm": 2.0}
    second.update([batch(1.0, 3.0)], 0)
    assert weight(game, "generator") == pytest.approx(1 - 0.1 * 0.8 * 2.0)
    assert weight(game, "discriminator") == pytest.approx(0.8)


def test_terms_are_summed() -> None:
    def two(networks: Networks, batch: Batch) -> Terms:
        d = networks["discriminator"](batch.images)
        return {"linear": d.mean(), "square": d.square().mean()}

    game = toy_game(toy_phase("discriminator", two))
    trainer(game).update([batch(1.0, 2.0)], 0)
    # d/dw of mean(w x) + mean(w² x²) at w = 1 is 1.5 + 2 · 2.5.
    assert weight(game, "discriminator") == pytest.approx(1 - 0.1 * 6.5)


def test_micro_batches_are_averaged_to_one_step() -> None:
    game = toy_game(toy_phase("discriminator", product))
    terms = trainer(game).update([batch(1.0, 3.0), batch(5.0, 7.0)], 0).terms
    assert weight(game, "discriminator") == pytest.approx(1 - 0.1 * 4.0)
    assert float(terms["product"]) == 4.0


def test_the_gradient_is_clipped_to_the_largest_norm() -> None:
    game = toy_game(toy_phase("discriminator", product))
    terms = trainer(game, clip_norm=0.5).update([batch(4.0)], 0).terms
    assert weight(game, "discriminator") == pytest.approx(1 - 0.1 * 0.5, abs=1e-6)
    assert float(terms["gradient norm"]) == 4.0


def test_a_skipped_update_changes_nothing() -> None:
    normal = nn.BatchNorm1d(1)

    def loss(networks: Networks, batch: Batch) -> Terms:
        seen = networks["discriminator"](normal(batch.images.flatten(1)))
        # At 0 the gradient of the root is 0.5 / 0 * 0, not finite, although its value is 0.
        root = (0 * scale(networks, "discriminator").weight + healthy).sqrt()
        return {"real": seen.square().mean(), "root": root}

    game = toy_game(toy_phase("discriminator", loss, optimizer=adam(0.1)))
    game.networks["discriminator"].add_module("normal", normal)
    first = trainer(game, skips=partial(Snapshot, game.networks, {}))
    healthy = 1.0
    assert not first.update([batch(1.0, 3.0)], 0).skipped
    before = deepcopy((game.networks["discriminator"].state_dict(), first.optimizer.state_dict()))
    healthy = 0.0
    assert first.update([batch(2.0, 5.0)], 2).skipped
    after = game.networks["discriminator"].state_dict(), first.optimizer.state_dict()
    assert str(before) == str(after)
    healthy = 1.0
    assert not first.update([batch(2.0, 5.0)], 2).skipped
    assert str(before) != str((game.networks["discriminator"].state_dict(), first.optimizer.state_dict()))


def test_the_learning_rate_follows_its_schedule() -> None:
    game = toy_game(toy_phase("discriminator", product))
    half = Schedule(kind="linear", begin=0, end=100, final=0.0)
    trainer(game, lr=half).update([batch(1.0)], 50)
    assert weight(game, "discriminator") == pytest.approx(1 - 0.05)


@pytest.mark.parametrize(
    ("kind", "seen", "factor"),
    [
        ("constant", 10**9, 1.0),
        ("linear", 100, 1.0),
        ("linear", 150, 0.6),
        ("linear", 999, 0.2),
        ("cosine", 150, 0.6),
        ("cosine", 125, 0.2 + 0.8 * (1 + math.cos(math.pi / 4)) / 2),
        ("cosine", 200, 0.2),
    ],
)
def test_schedules(kind: str, seen: int, factor: float) -> None:
    assert Schedule(kind=kind, begin=100, end=200, final=0.2)(seen) == pytest.approx(factor)  # type: ignore[arg-type]


def test_after_receives_the_networks_and_the_terms_after_the_step() -> None:
    seen: dict[str, float] = {}

    def clip(networks: Networks, terms: Terms, batch: Batch) -> None:
        seen.update({name: float(term) for name, term in terms.items()})
        for parameter in networks["discriminator"].parameters():
            parameter.clamp_(-0.25, 0.25)

    game = toy_game(toy_phase("discriminator", product, after=clip))
    trainer(game).update([batch(1.0)], 0)
    assert weight(game, "discriminator") == 0.25
    assert seen["product"] == 1.0


def test_unused_parameters_are_found_and_get_a_gradient_of_zero() -> None:
    game = toy_game(toy_phase("discriminator", product))
    module = PhaseModule(game.phases[0], game.networks)
    module.find_unused(batch(1.0))
    idle = scale(game.networks, "discriminator").idle
    assert [id(parameter) for parameter in module.unused] == [id(idle)]
    total, _ = module(batch(1.0))
    total.backward()
    assert idle.grad is not None
    assert float(idle.grad) == 0.0


def test_a_parameter_frozen_by_the_plugin_stays_frozen() -> None:
    game = toy_game(toy_phase("discriminator", product))
    scale(game.networks, "discriminator").idle.requires_grad_(requires_grad=False)
    module = PhaseModule(game.phases[0], game.networks)
    module.freeze_others()
    assert not scale(game.networks, "discriminator").idle.requires_grad
    assert scale(game.networks, "discriminator").weight.requires_grad


@pytest.mark.parametrize(
    ("loss", "message"),
    [
        (
            lambda n, b: {"a": n["generator"](b.images).mean()},
            "trains no parameter of discriminator: none of its terms",
        ),
        (lambda n, b: {}, "trains no parameter of discriminator"),
        (
            lambda n, b: {"a": n["discriminator"](b.images)},
            r"term 'a' has the shape \(2, 1, 1, 1\), but must be a scalar",
        ),
        (lambda n, b: {"a": b.images.mean().requires_grad_()}, "its terms depend on none of them"),
    ],
)
def test_errors_for_phases_that_train_nothing(loss: object, message: str) -> None:
    game = toy_game(toy_phase("discriminator", loss))  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=message):
        PhaseModule(game.phases[0], game.networks).find_unused(batch(1.0, 2.0))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"trains": ("absent",)}, "names the network 'absent', but the game has"),
        ({"trains": ()}, "trains no network"),
        ({"repeats": 0}, "repeats is 0, but must be at least 1"),
        ({"name": "../up"}, "is not allowed as the name of a network, phase, output or state"),
    ],
)
def test_errors_for_invalid_games(change: dict[str, object], message: str) -> None:
    name = str(change.pop("name", "discriminator"))
    with pytest.raises(ValueError, match=message):
        toy_game(toy_phase(name, product, **{"trains": ("discriminator",), **change}))


def update(skipped: bool = False, **terms: float) -> Update:
    values = {name.replace("_", " "): torch.tensor(value) for name, value in terms.items()}
    return Update(terms=values, finite=torch.tensor(True), skipped=skipped)


def test_the_meter_averages_terms_and_reports_the_first_that_is_not_finite() -> None:
    meter = Meter(Accelerator(cpu=True), nan_limit=1)
    assert meter.read() == {}
    meter.add("critic", update(a=1.0, b=2.0), 3)
    meter.add("critic", update(a=3.0, b=4.0), 4)
    assert meter.read() == {"critic/a": 2.0, "critic/b": 3.0}
    meter.add("critic", update(a=1.0, b=2.0), 5)
    meter.add("critic", update(a=1.0, b=torch.nan), 6)
    meter.add("critic", update(a=torch.inf, b=torch.nan), 6)
    with pytest.raises(NotFiniteError, match="critic: b is not finite from step 6 on"):
        meter.read()
    meter.add("critic", update(a=1.0), 0)
    with pytest.raises(ValueError, match="must return the same terms in every update"):
        meter.add("critic", update(b=1.0), 1)


def test_the_meter_reports_the_first_gradient_that_is_not_finite() -> None:
    meter = Meter(Accelerator(cpu=True), nan_limit=1)
    meter.add("critic", update(a=1.0, gradient_norm=torch.nan), 7)
    meter.add("critic", update(a=torch.nan, gradient_norm=torch.nan), 7)
    meter.add("generator", update(b=torch.nan, gradient_norm=torch.nan), 7)
    with pytest.raises(NotFiniteError, match="critic: gradient norm is not finite from step 7 on"):
        meter.read()


def test_skipped_updates_are_counted_and_too_many_in_a_row_stop_the_run() -> None:
    meter = Meter(Accelerator(cpu=True), nan_limit=2)
    for step, skipped in enumerate([True, True, False, True, True]):
        meter.add("critic", update(a=torch.nan if skipped else 5.0, skipped=skipped), step)
        meter.add("generator", update(b=1.0), step)
    assert meter.read() == {"critic/a": 5.0, "generator/b": 1.0, "critic/skipped": 4.0}
    with pytest.raises(NotFiniteError, match=r"critic: a is not finite from step 5 on .*\n2 updates in a row"):
        meter.add("critic", update(a=torch.nan, skipped=True), 5)


def test_dropout_depends_on_the_position_and_the_process() -> None:
    from gan_core.randomness import Streams

    def drawn(position: int, part: int) -> list[float]:
        Streams(1).seed_modules("modules in generator", position, part)
        return nn.Dropout(0.5)(torch.ones(64)).tolist()

    assert drawn(5, 0) == drawn(5, 0)
    assert drawn(5, 0) != drawn(6, 0)
    assert drawn(5, 0) != drawn(5, 1)
