"""A game with every feature that `two_player` does not use, as a third-party plugin, on one process and on two.

Three networks; two phases that train the same network, of which the second is lazy and leaves some parameters unused;
repeated updates; extra state that averaged terms change after each step, and that the loss reads.
"""

from pathlib import Path

import pytest
import torch

from tests.conftest import difference, gan_core, metrics, weights
from tests.test_plugin_loading import install

CODE = '''
import torch
from torch import nn
from torch.nn.functional import softplus
from gan_core import Game, Options, Phase, Variant, adam, generated, normal_latents, squared_gradient_norm

class UnusualOptions(Options):
    """None."""

class Balance(nn.Module):
    """A number that depends on the terms of earlier updates, as the k of BEGAN."""
    def __init__(self):
        super().__init__()
        self.register_buffer("k", torch.zeros(()))

class Generator(nn.Module):
    def __init__(self, shape):
        super().__init__()
        self.shape = shape
        hidden = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Tanh())
        self.layers = nn.Sequential(hidden, nn.Linear(8, shape[1] * shape[2]), nn.Tanh())
    def forward(self, z):
        return self.layers(z).view(-1, *self.shape)

def critic(pixels):
    return nn.Sequential(nn.Flatten(), nn.Linear(pixels, 6), nn.Softplus(), nn.Linear(6, 1))

def build(options, data):
    shape = (data.channels, data.image_size, data.image_size)
    pixels = data.image_size**2
    balance = Balance()

    def critics_loss(n, b):
        fake = n["generator"](**b.inputs)
        noise = 0.1 * b.random.normal(*shape)
        return {
            "real": softplus(-n["first"](b.images + noise)).mean(),
            "fake": (1 + balance.k) * softplus(n["first"](fake)).mean(),
            "second": softplus(-n["second"](b.images)).mean() + softplus(n["second"](fake)).mean(),
        }

    def update_balance(n, terms, batch):
        balance.k.add_(0.1 * (terms["real"] - terms["fake"])).clamp_(-0.5, 0.5)

    def penalty(n, b):
        return {"r1": 0.5 * squared_gradient_norm(lambda x: n["first"](x).squeeze(1), b.images)}

    def generator_loss(n, b):
        fake = n["generator"](**b.inputs)
        return {"a": softplus(-n["first"](fake)).mean() + softplus(-n["second"](fake)).mean()}

    opt = adam(1e-2)
    return Game(
        networks={"generator": Generator(shape), "first": critic(pixels), "second": critic(pixels)},
        phases=[
            Phase(name="critics", trains=("first", "second"), loss=critics_loss, optimizer=opt,
                repeats=2, after=update_balance),
            Phase(name="regularise", trains=("first",), loss=penalty, optimizer=opt, every=3),
            Phase(name="generator", trains=("generator",), loss=generator_loss, optimizer=opt),
        ],
        draw=normal_latents(4),
        outputs={"images": generated()},
        state={"balance": balance},
    )

variant = Variant(api=2, options=UnusualOptions, build=build)
'''


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder where the plugin is installed."""
    folder = tmp_path_factory.mktemp("site")
    install(folder, distribution="unusual-gan", name="unusual", code=CODE)
    return folder


def balance(run: Path, images_seen: int) -> float:
    """Returns the extra state in a run's checkpoint."""
    file = run / "checkpoints" / f"{images_seen:09d}" / "state-balance.pt"
    return float(torch.load(file, weights_only=True)["k"])


def test_an_unusual_game_is_the_same_on_two_processes_and_after_a_resume(site: Path, tmp_path: Path) -> None:
    path = {"PYTHONPATH": str(site)}
    train = ("train", "--variant", "unusual", "--batch", 16, "--precision", "fp64", "--set", "log_every=0.032")
    gan_core(*train, "--steps", 8, "--out", tmp_path / "one", **path)
    gan_core(*train, "--steps", 8, "--out", tmp_path / "two", processes=2, **path)
    gan_core(*train, "--steps", 4, "--out", tmp_path / "resumed", **path)
    gan_core(*train, "--steps", 8, "--out", tmp_path / "resumed", **path)
    one = weights(tmp_path / "one")
    assert difference(one, weights(tmp_path / "two")) < 1e-9
    assert difference(one, weights(tmp_path / "resumed")) == 0
    # 8 steps of 2 batches of 16 images.
    assert abs(balance(tmp_path / "one", 256)) > 1e-4
    assert balance(tmp_path / "resumed", 256) == balance(tmp_path / "one", 256)
    assert balance(tmp_path / "two", 256) == pytest.approx(balance(tmp_path / "one", 256), abs=1e-9)
    lines = metrics(tmp_path / "one")
    assert ["regularise/r1" in line for line in lines] == [True, False, False, True, False, False, True, False]
