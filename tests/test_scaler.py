"""Precision fp16: updates that the gradient scaler skips change nothing, are counted, and stop the run if they stay.

torch's own scaler runs, on the CPU (tests/scaled.py). Expected weights are computed without a scaler, or by hand.
"""

import os
from collections.abc import Callable
from contextlib import nullcontext
from functools import partial
from pathlib import Path

import pytest
import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from torch import Tensor, nn, optim

from gan_core import Batch, Game, Networks, Phase, Terms, adam, rmsprop, sgd
from gan_core.distributed.rendezvous import Rendezvous
from gan_core.distributed.world import join_world
from gan_core.errors import NotFiniteError
from gan_core.game.phase import MakeOptimizer
from gan_core.randomness import Share
from gan_core.training.batch_source import BatchSource
from gan_core.training.meter import Meter
from gan_core.training.phase_module import PhaseModule
from gan_core.training.phase_trainer import PhaseTrainer
from gan_core.training.shared_fakes import SharedFakes
from gan_core.training.snapshot import Snapshot
from tests.conftest import SMALL, difference, gan_core, make_job, metrics, weights
from tests.scaled import scaled_accelerator, use_scaler
from tests.test_not_finite import CODE, TRAIN
from tests.test_plugin_loading import install
from tests.test_updates import CONSTANT, batch
from tests.toys import Scale, toy_game, toy_phase
from tests.worlds import GAMES


def trainers(game: Game, accelerator: Accelerator, clip_norm: float | None = None) -> list[PhaseTrainer]:
    snapshot = partial(Snapshot, game.networks, game.state)
    modules = [PhaseModule(phase, game.networks) for phase in game.phases]
    return [PhaseTrainer(module, accelerator, CONSTANT, clip_norm, snapshot) for module in modules]


def plain_accelerator() -> Accelerator:
    """Returns one without a scaler, in place of the one before."""
    AcceleratorState._reset_state(reset_partial_state=True)
    return Accelerator(cpu=True)


def weight(game: Game, name: str) -> float:
    network = game.networks[name]
    assert isinstance(network, Scale)
    return float(network.weight.detach())


def slope(name: str) -> Callable[[Networks, Batch], Terms]:
    """Returns a loss whose gradient by the weight of that network is the mean of the batch."""
    return lambda networks, batch: {"slope": networks[name](batch.images).mean()}


def test_a_gradient_that_stays_nan_stops_the_run_and_harms_no_other_phase() -> None:
    def root(networks: Networks, batch: Batch) -> Terms:
        return {"root": (0 * networks["discriminator"](batch.images).mean()).sqrt()}  # Its gradient is 0.5 / 0 · 0.

    game = toy_game(toy_phase("discriminator", root, optimizer=adam(0.1)), toy_phase("generator", slope("generator")))
    accelerator = scaled_accelerator()
    ill, well = trainers(game, accelerator)
    meter = Meter(accelerator, nan_limit=3)
    for step in range(200):  # 2^15 would be halved to 0, and infinity times 0 is NaN.
        meter.add("discriminator", ill.update([batch(1.0)], 0), step)
        meter.add("generator", well.update([batch(1.0)], 0), step)
    assert weight(game, "discriminator") == 1.0
    assert weight(game, "generator") == pytest.approx(1 - 200 * 0.1 * 1.0, rel=1e-4)
    assert accelerator.scaler is not None
    assert accelerator.scaler.get_scale() > 0
    message = r"discriminator: gradient norm is not finite from step 3 on \(first seen on process 0\).*\n3 updates in a"
    with pytest.raises(NotFiniteError, match=message):
        meter.read()


def test_the_norm_of_applied_updates_their_number_and_the_scale_are_logged() -> None:
    game = toy_game(toy_phase("discriminator", slope("discriminator")))
    accelerator = scaled_accelerator(init_scale=8.0)
    (trainer,) = trainers(game, accelerator)
    meter = Meter(accelerator, nan_limit=2)
    inf = torch.inf
    for step, x in enumerate([inf, inf, 1.0, 3.0, inf, 5.0]):
        meter.add("discriminator", trainer.update([batch(x)], 0), step)
    line = meter.read()
    assert line["discriminator/gradient norm"] == 3.0
    assert line["discriminator/slope"] == pytest.approx((1 * 1 + 0.9 * 3 + 0.6 * 5) / 3)
    assert line["discriminator/skipped"] == 3.0
    assert line["scale"] == 1.0  # Halved three times.
    meter.add("discriminator", trainer.update([batch(7.0)], 0), 6)
    assert meter.read() == {
        "discriminator/slope": pytest.approx(0.1 * 7),
        "discriminator/gradient norm": 7.0,
        "scale": 1.0,
    }


def test_skips_in_a_row_are_counted_over_log_points_and_a_line_without_updates_has_no_terms() -> None:
    game = toy_game(toy_phase("discriminator", slope("discriminator")))
    accelerator = scaled_accelerator()
    (trainer,) = trainers(game, accelerator)
    meter = Meter(accelerator, nan_limit=3)
    for step, x in enumerate([1.0, torch.inf, torch.inf]):
        meter.add("discriminator", trainer.update([batch(x)], 0), step)
        line = meter.read()
    assert line == {"discriminator/skipped": 1.0, "scale": 2.0**13}
    for step in (3, 4):
        meter.add("discriminator", trainer.update([batch(torch.inf)], 0), step)
    with pytest.raises(NotFiniteError, match="discriminator: slope is not finite from step 4 on"):
        meter.read()


def test_a_scale_below_one_is_an_error() -> None:
    game = toy_game(toy_phase("discriminator", slope("discriminator")))
    accelerator = scaled_accelerator(init_scale=2.0)
    (trainer,) = trainers(game, accelerator)
    meter = Meter(accelerator, nan_limit=5)
    for step in range(20):  # Never twice in a row.
        meter.add("discriminator", trainer.update([batch(torch.inf if step % 2 else 1.0)], 0), step)
    assert accelerator.scaler is not None
    assert accelerator.scaler.get_scale() == 0.5
    with pytest.raises(NotFiniteError, match=r"overflow in precision fp16.*\(discriminator/skipped: 10\)"):
        meter.read()


def test_a_norm_that_overflows_although_no_gradient_does_skips_the_update() -> None:
    game = toy_game(toy_phase("discriminator", lambda n, b: {"sum": (n["discriminator"].bias * b.images).sum()}))
    game.networks["discriminator"].bias = nn.Parameter(torch.ones(64))  # type: ignore[index]
    (trainer,) = trainers(game, scaled_accelerator())
    update = trainer.update([batch(1e30)], 0)  # Its square is above 3.4e38.
    assert bool(update.skipped)
    assert game.networks["discriminator"].bias.eq(1.0).all()


class Balance:
    """BEGAN's k, as a number or a tensor; it is not a module."""

    def __init__(self, k: Tensor | float) -> None:
        self.k, self.history = k, [k]

    def state_dict(self) -> dict[str, object]:
        return {"k": self.k, "history": self.history, "name": "balance"}

    def load_state_dict(self, state: dict[str, object]) -> None:
        self.k, self.history = state["k"], state["history"]  # type: ignore[assignment]


class Pool(nn.Module):
    """State that is a module."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(()))


@pytest.mark.parametrize("k", [1.0, torch.ones(())], ids=["float", "tensor"])
def test_after_running_statistics_and_state_take_effect_in_applied_updates_only(k: Tensor | float) -> None:
    def played(values: list[float], accelerator: Accelerator) -> tuple[object, ...]:
        balance, pool, normal = Balance(k), Pool(), nn.BatchNorm1d(1)

        def loss(networks: Networks, batch: Batch) -> Terms:
            seen = networks["discriminator"](networks["discriminator"].get_submodule("normal")(batch.images.flatten(1)))
            return {"a": (seen * batch.images.flatten(1)).mean()}

        def after(networks: Networks, terms: Terms, batch: Batch) -> None:
            step = terms["a"] if isinstance(balance.k, Tensor) else float(terms["a"])
            balance.k = balance.k + step
            balance.history = [balance.history[-1], balance.k]
            pool.mean.add_(terms["a"])
            networks["generator"].weight.mul_(terms["a"])  # type: ignore[operator, union-attr]

        game = toy_game(toy_phase("discriminator", loss, after=after, optimizer=sgd(0.1, momentum=0.5)))
        game.networks["discriminator"].add_module("normal", normal)
        made = Game(
            networks=game.networks,
            phases=game.phases,
            draw=game.draw,
            outputs=game.outputs,
            state={"balance": balance, "pool": pool},
        )
        (trainer,) = trainers(made, accelerator)
        for x in values:
            trainer.update([batch(x, 1.0, 2 * x)], 0)
        networks = {name: dict(network.state_dict()) for name, network in made.networks.items()}
        return networks, trainer.optimizer.state_dict()["state"], balance.state_dict(), pool.state_dict()

    nan, inf = torch.nan, torch.inf
    scaled = played([inf, 2.0, nan, 3.0, inf, 0.5, nan], scaled_accelerator())
    plain = played([2.0, 3.0, 0.5], plain_accelerator())
    assert "nan" not in str(scaled)
    assert str(scaled) == str(plain)


MAKERS: dict[str, tuple[MakeOptimizer, MakeOptimizer]] = {
    "adam": (adam(0.1), lambda p: optim.Adam(p, lr=0.1, fused=True)),
    "sgd": (sgd(0.1), lambda p: optim.SGD(p, lr=0.1, fused=True)),
    "momentum": (sgd(0.1, momentum=0.9, nesterov=True), lambda p: optim.SGD(p, lr=0.1, momentum=0.9, nesterov=True)),
    "dampening": (
        lambda p: optim.SGD(p, lr=0.1, momentum=0.9, dampening=0.5, fused=True),
        lambda p: optim.SGD(p, lr=0.1, momentum=0.9, dampening=0.5, fused=True),
    ),
    "rmsprop": (rmsprop(0.1), lambda p: optim.RMSprop(p, lr=0.1)),
    "adamax": (lambda p: optim.Adamax(p, lr=0.1), lambda p: optim.Adamax(p, lr=0.1)),
}


@pytest.mark.parametrize("name", MAKERS)
def test_skipped_steps_leave_no_trace_in_any_optimizer(name: str) -> None:
    made, reference = MAKERS[name]
    values = [torch.inf, torch.nan, 2.0, -1.0, torch.inf, 4.0, torch.nan, 0.5]
    game = toy_game(toy_phase("discriminator", slope("discriminator"), optimizer=made))
    (trainer,) = trainers(game, scaled_accelerator())
    # What torch may hand out as uninitialised memory.
    del game.networks["discriminator"].idle  # type: ignore[union-attr]
    for x in values:
        filled = [torch.full((), 7e7) for _ in range(99)]
        del filled
        trainer.update([batch(x)], 0)
    expected = nn.Parameter(torch.ones(()))
    optimizer = reference([expected])
    for x in values:
        if torch.tensor(x).isfinite():
            expected.grad = torch.tensor(x)
            optimizer.step()
    assert weight(game, "discriminator") == float(expected.detach())


def test_an_overflow_of_one_phase_does_not_touch_the_state_of_those_that_share_its_optimizer() -> None:
    def play(values: list[tuple[float, float]], accelerator: Accelerator) -> tuple[float, str]:
        main = toy_phase("discriminator", slope("discriminator"), optimizer=adam(0.1))
        lazy = Phase(
            name="lazy", trains=("discriminator",), loss=slope("discriminator"), optimizer="discriminator", every=2
        )
        game = toy_game(main, lazy)
        snapshot = partial(Snapshot, game.networks, {})
        modules = [PhaseModule(phase, game.networks) for phase in game.phases]
        first = PhaseTrainer(modules[0], accelerator, CONSTANT, None, snapshot)
        second = PhaseTrainer(modules[1], accelerator, CONSTANT, None, snapshot, first.optimizer)
        for one, other in values:
            for trainer, x in ((first, one), (second, other)):
                if x:
                    trainer.update([batch(x)], 0)
        return weight(game, "discriminator"), str(first.optimizer.state_dict()["state"])

    inf = torch.inf
    scaled = play([(inf, 2.0), (1.0, inf), (3.0, 0.5)], scaled_accelerator())
    assert scaled == play([(0.0, 2.0), (1.0, 0.0), (3.0, 0.5)], plain_accelerator())


def test_clipping_uses_the_unscaled_norm() -> None:
    game = toy_game(toy_phase("discriminator", slope("discriminator")))
    (trainer,) = trainers(game, scaled_accelerator(), clip_norm=0.5)
    assert float(trainer.update([batch(4.0)], 0).terms["gradient norm"]) == 4.0
    assert weight(game, "discriminator") == pytest.approx(1 - 0.1 * 0.5, abs=1e-6)


def test_the_scale_begins_where_the_gradient_of_a_mean_in_float16_is_finite(tmp_path: Path) -> None:
    accelerator = join_world(Rendezvous(10), precision="fp16", threads=None)
    assert accelerator.scaler_handler is not None
    scale = torch.tensor(accelerator.scaler_handler.init_scale)
    assert scale.half().isfinite()
    assert not (2 * scale).half().isfinite()


@pytest.mark.parametrize("variant", ["dcgan", "wgan"])
def test_a_run_in_fp16_is_finite_logs_its_scale_and_resumes_exactly(
    variant: str, tmp_path: Path, train: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    use_scaler(monkeypatch)
    settings = {"variant": variant, "batch": 32, "precision": "fp16"}
    assignments = (*SMALL, *(("critic_steps=1",) if variant == "wgan" else ()))
    train(*assignments, **settings, steps=4, out=tmp_path / "resumed")
    train(*assignments, **settings, steps=8, out=tmp_path / "resumed")
    train(*assignments, **settings, steps=8, out=tmp_path / "straight")
    assert difference(weights(tmp_path / "resumed"), weights(tmp_path / "straight")) == 0.0
    lines = metrics(tmp_path / "straight")
    assert all(line["scale"] == 2.0**15 and line["generator/gradient norm"] > 0 for line in lines)


@pytest.mark.parametrize("name", GAMES)
def test_losses_are_means_in_float32(name: str) -> None:
    variant, *assignments = GAMES[name]
    job = make_job(*assignments, variant=variant, batch=64)
    game, images = job.build(), job.dataset.read("images", "train")
    share = Share(rank=0, world=1)
    source = BatchSource(
        game=game,
        data=job.dataset.spec,
        tables={"images": images},
        mirror=False,
        batch=64,
        accumulate=1,
        length=64,
        seed=0,
        share=share,
        device=torch.device("cpu"),
        dtype=torch.float32,
    )
    outputs: list[Tensor] = []
    fakes = SharedFakes([PhaseModule(phase, game.networks) for phase in game.phases], nullcontext)
    for network in game.networks.values():
        network.register_forward_hook(lambda module, inputs, output: outputs.append(output))
    for phase, batches in source.step(0):
        outputs.clear()
        with torch.autocast("cpu", dtype=torch.float16):
            terms = phase.loss(game.networks, fakes.filled(phase, batches[0]))
        assert {term: value.dtype for term, value in terms.items()} == dict.fromkeys(terms, torch.float32)
        if "wasserstein" in terms:
            _, on_real, on_fake = outputs[:3]
            assert on_real.dtype == on_fake.dtype == torch.float16
            exact = float(on_real.detach().double().mean() - on_fake.detach().double().mean())
            assert float(terms["wasserstein"].detach()) == pytest.approx(exact, rel=1e-4)


SEAM = """
import pytest
from tests.scaled import use_scaler
use_scaler(pytest.MonkeyPatch())
"""


def test_processes_skip_together_and_name_the_one_whose_gradient_it_was(tmp_path: Path) -> None:
    site, run = tmp_path / "site", tmp_path / "run"
    site.mkdir()
    install(site, distribution="poison-gan", name="poison", code=SEAM + CODE)
    path = os.pathsep.join([str(site), *filter(None, [os.environ.get("PYTHONPATH")])])
    poison = ("--precision", "fp16", "--set", "nan_limit=2", "--set", "rank=1", "--set", "updates=[1,5,6,8,9,10]")
    output = gan_core(*TRAIN, *poison, "--out", run, processes=2, expect=1, PYTHONPATH=path)
    assert "error: discriminator: gradient norm is not finite from step 10 on (first seen on process 1)" in output
    lines = metrics(run)
    counts = [line.get("discriminator/skipped", 0.0) for line in lines]
    assert counts == [1.0, 0.0, 1.0, 1.0, 2.0]
    assert [line["scale"] for line in lines] == [2.0**14, 2.0**14, 2.0**13, 2.0**12, 2.0**10]
    assert all(tensor.isfinite().all() for tensor in weights(run).values())
