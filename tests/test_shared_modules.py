"""Networks that share modules, batch normalisation of every kind, and initial weights on any number of threads."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from accelerate import Accelerator
from torch import nn

from gan_core import Batch, Game, Networks, Terms
from gan_core.distributed.batchnorm import GlobalBatchNorm, not_synchronised, synchronise
from gan_core.training.ema import Ema
from gan_core.training.phase_module import PhaseModule
from gan_core.training.phase_trainer import PhaseTrainer
from tests.conftest import difference, gan_core, make_job, weights
from tests.test_plugin_loading import install
from tests.test_updates import CONSTANT, batch
from tests.toys import Scale, toy_game, toy_phase


def test_a_parameter_of_two_networks_is_trained_once() -> None:
    shared = Scale()

    def loss(networks: Networks, batch: Batch) -> Terms:
        return {"sum": networks["generator"](batch.images).mean() + networks["discriminator"](batch.images).mean()}

    phase = toy_phase("generator", loss, trains=("generator", "discriminator"))
    game: Game = replace(toy_game(phase), networks={"generator": shared, "discriminator": shared})
    trainer = PhaseTrainer(PhaseModule(phase, game.networks), Accelerator(cpu=True), CONSTANT, None)
    terms = trainer.update([batch(3.0)], 0).terms
    # The derivative of w x + w x is 2 x = 6, and its norm is counted once.
    assert float(shared.weight.detach()) == pytest.approx(1 - 0.1 * 6)
    assert float(terms["gradient norm"]) == pytest.approx(6)


class Doubled(nn.BatchNorm1d):
    """Its forward is its own."""

    def forward(self, input: torch.Tensor) -> torch.Tensor:  # noqa: A002
        return 2 * super().forward(input)


def test_only_the_exact_types_are_synchronised_and_everything_else_stays() -> None:
    norm, own = nn.BatchNorm1d(3), Doubled(3)
    network = nn.ModuleDict({"first": norm, "again": nn.Sequential(norm), "own": own})
    heard: list[str] = []
    norm.register_forward_hook(lambda *_: heard.append("norm"))
    keys = list(network.state_dict())
    assert not_synchronised({"n": network}) == {"n": ["Doubled"]}
    synchronise({"n": network})
    assert type(norm) is GlobalBatchNorm
    assert network["again"][0] is network["first"] is norm  # type: ignore[index]
    assert type(own) is Doubled
    assert list(network.state_dict()) == keys
    assert not_synchronised({"n": network}) == {"n": ["Doubled"]}
    norm.eval()(torch.zeros(2, 3))
    assert heard == ["norm"]
    assert torch.equal(own.eval()(torch.ones(2, 3)), 2 * nn.BatchNorm1d(3).eval()(torch.ones(2, 3)))


def test_averages_are_copied_before_anything_runs() -> None:
    network = nn.utils.spectral_norm(nn.Linear(2, 2))  # Its weight is computed by a hook.
    average = Ema(network, lambda seen: 0)
    network(torch.ones(1, 2))
    average.update(1, 1)
    with pytest.raises(RuntimeError, match="deepcopy"):
        Ema(network, lambda seen: 0)


HOOKED = """
import torch
from torch import nn
from dataclasses import replace
from gan_core import Output, Variant
from gan_core_vanilla import variant as vanilla

class Caching(nn.Module):
    def __init__(self, inner):
        super().__init__()
        self.inner, self.norm = inner, nn.BatchNorm1d(inner.in_features)
        self.twin = self.norm
    def forward(self, x):
        self.last = self.inner(self.twin(self.norm(x)))
        return self.last

def build(options, data):
    game = vanilla.build(options, data)
    for network in game.networks.values():
        for module in list(network.modules()):
            for name, child in module.named_children():
                if isinstance(child, nn.Linear):
                    setattr(module, name, Caching(nn.utils.spectral_norm(child)))
    def generate(networks, inputs, options):
        networks["generator"].train()  # As code does that forgets it.
        images = game.outputs["images"].generate(networks, inputs, options)
        networks["generator"].eval()
        return images
    return replace(game, outputs={"images": Output(generate=generate)})

variant = Variant(api=2, options=vanilla.options, build=build)
"""


def test_hooks_caches_twins_and_train_mode_in_generate_are_the_same_on_two_processes(tmp_path: Path) -> None:
    install(tmp_path, distribution="hooked-gan", name="hooked", code=HOOKED)
    path = {"PYTHONPATH": str(tmp_path)}
    words = ("train", "--variant", "hooked", "--batch", 16, "--precision", "fp64", "--steps", 6, "--set", "width=6")
    gan_core(*words, "--out", tmp_path / "one", **path)
    gan_core(*words, "--out", tmp_path / "two", processes=2, **path)
    assert difference(weights(tmp_path / "one"), weights(tmp_path / "two")) < 1e-9


ORTHOGONAL = """
from torch import nn
from dataclasses import replace
from gan_core import Variant
from gan_core_vanilla import variant as vanilla

def build(options, data):
    game = vanilla.build(options, data)
    for parameter in game.networks["generator"].parameters():
        if parameter.ndim == 2:
            nn.init.orthogonal_(parameter)
    return game

variant = Variant(api=2, options=vanilla.options, build=build)
"""


def test_initial_weights_do_not_depend_on_the_threads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(tmp_path, distribution="orthogonal-gan", name="orthogonal", code=ORTHOGONAL)
    monkeypatch.syspath_prepend(tmp_path)
    before, built = torch.get_num_threads(), []
    for count in (1, 2, 5):
        torch.set_num_threads(count)
        game = make_job("width=700", variant="orthogonal", steps=1, out=tmp_path / "run").build()
        assert torch.get_num_threads() == count
        built.append(game.networks["generator"].state_dict())
    torch.set_num_threads(before)
    for other in built[1:]:
        assert all(torch.equal(value, other[key]) for key, value in built[0].items())
