"""What a checkpoint holds: readable, finite, the same on all processes, complete, and of the right shapes."""

import hashlib
import json
from collections import deque
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from accelerate import Accelerator
from torch import nn

from gan_core import Batch, Networks, Terms, adam
from gan_core.errors import NotFiniteError, UserError
from gan_core.runs.checkpoint import newest, save
from gan_core.training.optimizer_state import merged
from gan_core.training.phase_module import PhaseModule
from gan_core.training.phase_trainer import PhaseTrainer, Update
from tests.conftest import gan_core, weights
from tests.test_plugin_loading import install
from tests.test_updates import CONSTANT, batch
from tests.toys import toy_game, toy_phase

Train = Callable[..., str]
SMALL = ("width=4", "checkpoint_every=0.064", "log_every=0.032", "sample_every=1000")


class Counting(torch.optim.SGD):
    """Counts its steps in its parameter group, as schedule-free optimizers and Prodigy do."""

    def __init__(self, parameters: Iterable[nn.Parameter], lr: float = 0.1, start: object = 0) -> None:
        super().__init__(parameters, lr=lr)
        self.param_groups[0]["count"] = start

    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        super().step()
        self.param_groups[0]["count"] += 1


def product(networks: Networks, batch: Batch) -> Terms:
    return {"product": networks["discriminator"](batch.images).mean()}


def trainer(**settings: Any) -> PhaseTrainer:
    game = toy_game(toy_phase("discriminator", product, optimizer=lambda p: Counting(p, **settings)))
    return PhaseTrainer(PhaseModule(game.phases[0], game.networks), Accelerator(cpu=True), CONSTANT, None)


# Readable.


@pytest.mark.parametrize(
    ("value", "name"),
    [
        (np.float64(2), "numpy.float64"),
        (np.zeros(3), "numpy.ndarray"),
        (deque([1]), "collections.deque"),
        (Path("a"), r"pathlib\.\w+"),
        (lambda: None, "builtins.function"),
    ],
)
def test_what_could_not_be_read_is_not_written_and_the_key_is_named(value: object, name: str, tmp_path: Path) -> None:
    save(tmp_path, 10, {"net": {"w": torch.ones(2)}}, {"state-pool": {"kept": 1}})
    with pytest.raises(UserError, match=rf"^state-pool\.deep\.1\.x is a {name}, which could not be read"):
        save(tmp_path, 20, {"net": {"w": torch.ones(2)}}, {"state-pool": {"deep": [1, {"x": value}]}})
    assert [path.name for path in tmp_path.iterdir()] == ["000000010"]


def test_an_optimizer_that_could_not_be_saved_is_refused_before_the_first_step(tmp_path: Path) -> None:
    code = NUMPY_GAN.replace("VALUE", "np.float64(1)")
    install(tmp_path, distribution="numpy-gan", name="numpy-gan", code=code)
    run = tmp_path / "run"
    output = gan_core("train", "--variant", "numpy-gan", "--steps", 2, "--out", run, expect=2, PYTHONPATH=str(tmp_path))
    assert "optimizer-discriminator.param_groups.0.count is a numpy.float64" in output
    assert not run.exists()


NUMPY_GAN = """
import numpy as np, torch
from dataclasses import replace
from gan_core import Variant
from gan_core_vanilla import variant as vanilla

def make(parameters):
    optimizer = torch.optim.SGD(parameters, lr=0.1)
    optimizer.param_groups[0]["count"] = VALUE
    return optimizer

def build(options, data):
    game = vanilla.build(options, data)
    return replace(game, phases=[replace(game.phases[0], optimizer=make), *game.phases[1:]])

variant = Variant(api=2, options=vanilla.options, build=build)
"""


# Finite.


def test_weights_that_are_not_finite_are_not_saved(
    tmp_path: Path, train: Train, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, update = tmp_path / "run", PhaseTrainer.update

    def overflowing(self: PhaseTrainer, batches: Any, images_seen: int) -> Update:
        result = update(self, batches, images_seen)
        if images_seen == 96 and self.phase.name == "generator":  # The last update before the second checkpoint.
            next(self.plain.networks["generator"].parameters()).data[0] = torch.inf
        return result

    monkeypatch.setattr(PhaseTrainer, "update", overflowing)
    with pytest.raises(NotFiniteError, match=r"^generator: layers\.\S+ is not finite"):
        train(*SMALL, variant="dcgan", batch=32, steps=8, out=run)
    found = newest(run / "checkpoints", pytest.fail)
    assert found is not None
    assert found.images_seen == 64
    assert all(tensor.isfinite().all() for tensor in weights(run).values() if tensor.is_floating_point())


# The same on all processes.

POOL_GAN = """
import os, torch
from dataclasses import replace
from gan_core import Variant
from gan_core_vanilla import variant as vanilla

class Pool:
    def __init__(self):
        self.images = []
    def state_dict(self):
        return {"images": self.images}
    def load_state_dict(self, state):
        self.images = list(state["images"])

def build(options, data):
    game, pool = vanilla.build(options, data), Pool()
    def loss(networks, batch):
        pool.images = [batch.images[0].clone()]  # Each process keeps another image.
        return game.phases[0].loss(networks, batch)
    return replace(game, state={"pool": pool}, phases=[replace(game.phases[0], loss=loss), *game.phases[1:]])

variant = Variant(api=2, options=vanilla.options, build=build)
"""


def test_state_that_differs_between_processes_is_named_and_nothing_is_saved(tmp_path: Path) -> None:
    install(tmp_path, distribution="pool-gan", name="pool", code=POOL_GAN)
    flags = ("train", "--variant", "pool", "--set", "width=4", "--batch", 16, "--steps", 4)
    path = {"PYTHONPATH": str(tmp_path)}
    output = gan_core(*flags, "--out", tmp_path / "two", processes=2, expect=1, **path)
    assert "state-pool differs between the processes" in output
    assert list((tmp_path / "two" / "checkpoints").iterdir()) == []
    gan_core(*flags, "--out", tmp_path / "one", **path)


@pytest.mark.parametrize("batchnorm", ["global", "local"])
def test_running_statistics_may_be_local(batchnorm: str, tmp_path: Path) -> None:
    flags = ("train", "--variant", "dcgan", "--set", "width=4", "--batch", 16, "--steps", 4, "--batchnorm", batchnorm)
    assert "finished" in gan_core(*flags, "--out", tmp_path / "run", processes=2)


# Complete.


def test_an_optimizer_s_own_counters_are_restored(tmp_path: Path) -> None:
    first, resumed = trainer(), trainer()
    for _ in range(5):
        first.update([batch(1.0)], 0)
    resumed.optimizer.load_state_dict(first.optimizer.state_dict())
    assert resumed.optimizer.optimizer.param_groups[0]["count"] == 5
    resumed.update([batch(1.0)], 0)
    assert resumed.optimizer.optimizer.param_groups[0]["count"] == 6


def test_settings_that_changed_are_the_new_ones() -> None:
    first, resumed = trainer(lr=0.1), trainer(lr=0.3)
    first.update([batch(1.0)], 0)
    resumed.optimizer.load_state_dict(first.optimizer.state_dict())
    resumed.update([batch(1.0)], 0)
    (group,) = resumed.optimizer.optimizer.param_groups
    assert (group["lr"], group["count"]) == (0.3, 2)


def test_groups_are_merged_by_what_the_variant_makes() -> None:
    saved = [{"lr": 0.05, "betas": (0.5, 0.99), "count": 7, "params": [0]}]
    then, now = [{"lr": 0.1, "betas": (0.5, 0.99), "count": 0}], [{"lr": 0.2, "betas": (0.5, 0.99), "count": 0}]
    assert merged(saved, then, now) == [{"lr": 0.2, "betas": (0.5, 0.99), "count": 7, "params": [0]}]
    # A checkpoint of gan_core 0.1.0 does not say what was made then: all settings are the current ones.
    assert merged(saved, None, now) == [{"lr": 0.2, "betas": (0.5, 0.99), "count": 0, "params": [0]}]


# Of the right shapes.


@pytest.mark.parametrize(
    ("tensor", "message"),
    [
        (torch.zeros(1), r"exp_avg of parameter 0 is torch.float32 \(1,\), but must be torch.float32 \(\d+"),
        (None, r"exp_avg of parameter 0 is torch.float64"),
        ("text", r"exp_avg of parameter 0 is str"),
    ],
)
def test_a_state_of_other_shapes_never_reaches_the_optimizer(
    tensor: torch.Tensor | str | None, message: str, tmp_path: Path, train: Train
) -> None:
    run = tmp_path / "run"
    train(*SMALL, variant="dcgan", batch=32, steps=2, out=run)
    folder = run / "checkpoints" / "000000064"
    file = folder / "optimizer-generator.pt"
    state = torch.load(file, weights_only=True)
    moments = state["state"][0]
    moments["exp_avg"] = moments["exp_avg"].double() if tensor is None else tensor
    torch.save(state, file)
    manifest = json.loads((folder / "manifest.json").read_text())
    content = file.read_bytes()
    manifest["files"][file.name] = {"size": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    (folder / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(UserError, match=message):
        train(*SMALL, variant="dcgan", batch=32, steps=4, out=run)


@pytest.mark.parametrize("index", [99, -1, "a"])
def test_a_state_of_parameters_that_are_not_there_is_refused(index: object) -> None:
    game = toy_game(toy_phase("discriminator", product, optimizer=adam(1e-3)))
    made = PhaseTrainer(PhaseModule(game.phases[0], game.networks), Accelerator(cpu=True), CONSTANT, None)
    made.update([batch(1.0)], 0)
    state = made.optimizer.state_dict()
    with pytest.raises(ValueError, match="but there are 2"):
        made.optimizer.load_state_dict({**state, "state": {**state["state"], index: {}}})
