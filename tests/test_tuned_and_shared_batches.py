"""What a phase may do beside its loss: tune its optimizer, share a batch, and return terms. Numbers by hand."""

from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from accelerate import Accelerator
from torch import Tensor, nn

from gan_core import Batch, DataSpec, Game, Inputs, Moment, Networks, Output, Phase, Request, Terms, adam, sgd
from gan_core.app.setup import build_state
from gan_core.data.dataset import ResidentRows
from gan_core.errors import UserError
from gan_core.randomness import Share
from gan_core.training.batch_source import BatchSource
from gan_core.training.meter import Meter
from gan_core.training.phase_module import PhaseModule
from gan_core.training.phase_trainer import PhaseTrainer
from gan_core.training.schedule import Schedule
from gan_core.training.scheduled_optimizer import ScheduledOptimizer
from gan_core.training.snapshot import Snapshot
from tests.conftest import make_job
from tests.test_updates import batch, product, trainer, weight
from tests.toys import Scale, toy_game, toy_phase


def slope(networks: Networks, batch: Batch) -> Terms:
    """Its gradient by the discriminator's weight is the mean of the batch."""
    return {"slope": networks["discriminator"](batch.images).mean()}


def tuned(*settings: Mapping[str, Any], **fields: object) -> Game:
    """Returns a game whose discriminator gets these settings in its updates, in turn."""
    remaining = iter(settings)
    return toy_game(toy_phase("discriminator", slope, tune=lambda moment: next(remaining), **fields))


def test_an_update_takes_the_learning_rate_that_tune_returns_and_otherwise_the_phase_s_own() -> None:
    game = tuned({"lr": 0.3}, {}, {"lr": torch.tensor(0.5)})
    train = trainer(game)
    rates = []
    for _ in range(3):
        train.update([batch(2.0)], 0)
        rates.append(train.optimizer.learning_rate)
    assert rates == [0.3, 0.1, 0.5]
    assert weight(game, "discriminator") == pytest.approx(1 - 2 * (0.3 + 0.1 + 0.5))


def test_a_tuned_learning_rate_follows_the_schedule() -> None:
    game = tuned({"lr": 0.4})
    trainer(game, lr=Schedule(kind="linear", begin=0, end=100, final=0.0)).update([batch(2.0)], 75)
    assert weight(game, "discriminator") == pytest.approx(1 - 0.25 * 0.4 * 2)


def test_tuned_betas_are_those_of_the_update() -> None:
    # With betas of 0 Adam moves by lr in the direction of the last gradient; here back to where it came from. Its own
    # betas would give (0.9 · 0.1 · 1 - 0.1 · 2) / 0.19, divided by the root of (0.999 · 0.001 + 0.004) / 0.001999.
    game = tuned(*(2 * [{"betas": (0.0, 0.0)}]), optimizer=adam(0.1))
    train = trainer(game)
    for x in (1.0, -2.0):
        train.update([batch(x)], 0)
    assert weight(game, "discriminator") == pytest.approx(1.0, abs=1e-6)
    own = toy_game(toy_phase("discriminator", slope, optimizer=adam(0.1)))
    train = trainer(own)
    for x in (1.0, -2.0):
        train.update([batch(x)], 0)
    second = (0.9 * 0.1 - 0.1 * 2) / 0.19 / ((0.999 * 0.001 + 0.004) / 0.001999) ** 0.5
    assert weight(own, "discriminator") == pytest.approx(1 - 0.1 - 0.1 * second, abs=1e-6)


def test_tune_gets_the_moment_of_the_batch() -> None:
    moments: list[Moment] = []

    def tune(moment: Moment) -> Mapping[str, Any]:
        moments.append(moment)
        return {"lr": 0.1 * moment.progress}

    game = toy_game(toy_phase("discriminator", slope, tune=tune), toy_phase("generator", product))
    source = make_source(game, length=40)
    train = trainer(game)
    for phase, batches in source.step(20):
        if phase.name == "discriminator":
            before = weight(game, "discriminator")
            train.update(batches, 20)
    assert moments == [Moment(images_seen=20, progress=0.5, batch=8)]
    step = 0.05 * float(batches[0].images.mean())
    assert weight(game, "discriminator") == pytest.approx(before - step, abs=1e-6)


def test_a_setting_that_the_optimizer_does_not_have_is_refused_by_name() -> None:
    with pytest.raises(UserError, match=r"the optimizer has no setting 'betas', only .*lr"):
        trainer(tuned({"lr": 0.1, "betas": (0.0, 0.9)})).update([batch(1.0)], 0)


COUNT = 24


def random_game(*, on: str | None) -> Game:
    """Returns a game whose inputs are random, and whose generator may be updated on the discriminator's batch."""

    def draw(random: np.random.Generator, request: Request) -> Inputs:
        return {"z": torch.from_numpy(random.standard_normal((request.count, 3), dtype=np.float32))}

    phases = [
        toy_phase("discriminator", product, repeats=2, fakes=2),
        toy_phase("other", product, trains=("discriminator",), repeats=2, fakes=2),
        toy_phase("generator", product, repeats=2, fakes=2, on=on),
    ]
    output = Output(generate=lambda networks, inputs, options: networks["generator"](inputs["z"]))
    networks = {"generator": Scale(), "discriminator": Scale()}
    return Game(networks=networks, phases=phases, draw=draw, outputs={"images": output})


def make_source(game: Game, *, accumulate: int = 1, share: Share | None = None, length: int = 1000) -> BatchSource:
    pixels = torch.arange(COUNT, dtype=torch.uint8).view(-1, 1, 1, 1).expand(-1, 1, 2, 2).contiguous()
    return BatchSource(
        game=game,
        data=DataSpec.of_images(name="numbers", image_size=2, channels=1, classes=COUNT, count=COUNT),
        tables={"images": ResidentRows({"images": pixels, "labels": torch.arange(COUNT)})},
        mirror=True,
        batch=8,
        accumulate=accumulate,
        length=length,
        seed=3,
        share=share or Share(0, 1),
        device=torch.device("cpu"),
        dtype=torch.float32,
    )


def played(source: BatchSource) -> dict[str, list[dict[str, Tensor]]]:
    """Returns all that a loss gets in the updates of the second step, by phase."""
    found: dict[str, list[dict[str, Tensor]]] = {}
    for phase, batches in source.step(source.step_images):
        for part in batches:
            numbers = {"normal": part.random.normal(3), "uniform": part.random.uniform(2), "torch": torch.rand(4)}
            found.setdefault(phase.name, []).append({**part.real, **part.inputs, **numbers})
    return found


@pytest.mark.parametrize(
    ("accumulate", "share"),
    [(1, Share(0, 1)), (2, Share(0, 1)), (1, Share(1, 2)), (2, Share(1, 2))],
    ids=["whole", "halves", "second-process", "halves-of-second-process"],
)
def test_a_phase_on_the_batch_of_another_gets_all_of_it(accumulate: int, share: Share) -> None:
    alone, together = (
        played(make_source(random_game(on=on), accumulate=accumulate, share=share)) for on in (None, "discriminator")
    )
    assert len(together["generator"]) == len(together["discriminator"]) == 2 * accumulate
    for number, (theirs, given) in enumerate(zip(together["discriminator"], together["generator"], strict=True)):
        assert given.keys() == {"images", "labels", "z", "normal", "uniform", "torch"}
        for name, tensor in given.items():
            assert torch.equal(tensor, theirs[name]), name
            own = alone["generator"][number][name]
            assert torch.equal(tensor, own) == (name in ("images", "labels")), name
    for name in ("discriminator", "other"):
        for one, two in zip(alone[name], together[name], strict=True):
            assert all(torch.equal(tensor, two[key]) for key, tensor in one.items())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"on": "last"}, r"phase 'generator' is on the batch of 'last', but the earlier phases.*\['discriminator'\]"),
        ({"on": "generator"}, r"is on the batch of 'generator', but the earlier phases"),
        ({"on": "absent"}, r"is on the batch of 'absent', but the earlier phases"),
        ({"on": "same"}, r"is on the batch of 'same', but the earlier phases with a batch of their own"),
        ({"fakes": 3}, r"is on the batch of 'discriminator', which has other fakes"),
        ({"repeats": 2}, r"is on the batch of 'discriminator', which has other repeats"),
        ({"every": 2}, r"is on the batch of 'discriminator', which has other every"),
    ],
)
def test_a_batch_that_cannot_be_shared_is_an_error(changes: dict[str, object], message: str) -> None:
    def phase(name: str, **fields: object) -> Phase:
        return toy_phase(name, product, trains=("discriminator",), **fields)

    same = phase("same", on="discriminator")
    with pytest.raises(ValueError, match=message):
        toy_game(phase("discriminator"), same, phase("generator", **{"on": "discriminator", **changes}), phase("last"))


class Count(nn.Module):
    """A number that each update raises."""

    number: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("number", torch.zeros(()))


def counting(count: Count) -> Game:
    """Returns a game that counts its updates in the loss and again in `after`, which returns the count."""

    def loss(networks: Networks, batch: Batch) -> Terms:
        count.number.add_(1)
        return slope(networks, batch)

    def after(networks: Networks, terms: Terms, batch: Batch) -> Terms:
        count.number.add_(10)
        return {"count": count.number.clone(), "steepness": 2 * terms["slope"]}

    return toy_game(toy_phase("discriminator", loss, after=after, optimizer=sgd(0.0)))


def test_what_after_returns_is_averaged_and_logged() -> None:
    game, meter = counting(Count()), Meter(Accelerator(cpu=True), nan_limit=1)
    train = trainer(game)
    for step, x in enumerate((1.0, 3.0, 8.0)):
        meter.add("discriminator", train.update([batch(x)], 0), step)
    # The count is 11, 22 and 33, and the slope 1, 3 and 8.
    line = meter.read()
    assert line == {
        "discriminator/count": 22.0,
        "discriminator/steepness": 8.0,
        "discriminator/slope": 4.0,
        "discriminator/gradient norm": 4.0,
    }


def test_a_skipped_update_logs_nothing_and_leaves_the_state_as_it_was() -> None:
    count = Count()
    game, meter = counting(count), Meter(Accelerator(cpu=True), nan_limit=1)
    train = trainer(game, skips=partial(Snapshot, game.networks, {"count": count}))
    for step, x in enumerate((1.0, torch.nan, 3.0, torch.inf)):
        meter.add("discriminator", train.update([batch(x)], 0), step)
    assert float(count.number) == 22.0
    line = meter.read()
    assert line["discriminator/count"] == (11.0 + 22.0) / 2
    assert line["discriminator/steepness"] == 2 * (1.0 + 3.0) / 2
    assert line["discriminator/skipped"] == 2.0


def test_terms_of_after_are_known_from_the_probe() -> None:
    count = Count()
    game = counting(count)
    module = PhaseModule(game.phases[0], game.networks)
    module.find_unused(batch(1.0))
    assert module.terms == ("slope", "count", "steepness")
    PhaseTrainer(module, Accelerator(cpu=True), Schedule(kind="constant", begin=0, end=1, final=0.0), None)


def test_the_half_life_of_the_averages_is_a_function_of_where_the_run_stands() -> None:
    moments: list[Moment] = []

    def half_life(moment: Moment) -> float:
        moments.append(moment)
        return 4.0 if moment.progress < 0.5 else 0.0

    toy = toy_game(toy_phase("discriminator", product), toy_phase("generator", product))
    game = Game(networks=toy.networks, phases=toy.phases, draw=toy.draw, outputs=toy.outputs, half_life=half_life)
    job = make_job("batch=8", variant="vanilla")
    state = build_state(job, Accelerator(cpu=True), game, make_source(game, length=40), 40)
    average, network = state.averages["generator"], game.networks["generator"]
    found = []
    for value, seen in ((5.0, 8), (7.0, 16), (9.0, 24)):
        nn.init.constant_(network.get_parameter("weight"), value)
        average.update(8, seen)
        found.append(float(average.network.get_parameter("weight")))
    # Two half-lives of 4 images in a step of 8: a quarter of the old weight stays. From half of the run on, nothing.
    assert found == pytest.approx([0.25 * 1 + 0.75 * 5, 0.25 * 4 + 0.75 * 7, 9.0])
    assert moments == [Moment(images_seen=seen, progress=seen / 40, batch=8) for seen in (8, 16, 24)]


def test_a_setting_is_tuned_for_one_update_only() -> None:
    """By hand: lr 0.1 times a gradient of 1, three times; momentum begins in the second update, from nothing."""
    parameter = nn.Parameter(torch.zeros(()))
    constant = Schedule(kind="constant", begin=0, end=1, final=1.0)

    optimizer = ScheduledOptimizer(sgd(0.1, momentum=0.0), [parameter], Accelerator(cpu=True), constant)
    settings: Mapping[str, float]
    for number, settings in enumerate([{}, {"momentum": 0.5, "lr": 0.1}, {}]):
        optimizer.begin(number, settings)
        parameter.grad = torch.ones(())
        optimizer.step(torch.ones((), dtype=torch.bool))
        assert optimizer.optimizer.param_groups[0]["momentum"] == settings.get("momentum", 0.0)
        assert optimizer.state_dict()["param_groups"][0]["momentum"] == 0.0
    assert float(parameter.detach()) == pytest.approx(-0.3)
