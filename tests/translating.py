"""A plugin that translates images without learning, so that what it draws is known; and folders of images for it."""

from pathlib import Path

import numpy as np
from PIL import Image

from tests.test_plugin_loading import install

CODE = '''
"""Adds a number to images."""
import torch
from torch import nn
from gan_core import Game, Options, Output, Phase, Variant, sgd

class Training(Options):
    """None."""

class Sampling(Options):
    """What samples are drawn with."""

    shift: float = 0.0
    """Added to each translated image, in grey levels."""

class Shift(nn.Module):
    def __init__(self):
        super().__init__()
        self.amount = nn.Parameter(torch.zeros(()))
    def forward(self, images):
        return (images + self.amount).clamp(-1, 1)

def build(options, data):
    def loss(networks, batch):
        return {"size": sum(networks[name](batch.real[name]).square().mean() for name in ("a", "b"))}

    def prepare(networks, random, options):
        for network in networks.values():
            network.amount.fill_(options.shift / 127.5)

    def translated(network, given, result):
        def generate(networks, inputs, options):
            moved = networks[network](inputs["images"])
            return {result: moved, "inverted": -moved}
        return Output(generate=generate, like=result, given=(given,), columns=(given, result, "inverted"))

    return Game(
        networks={"a": Shift(), "b": Shift()},
        phases=[Phase(name="both", trains=("a", "b"), loss=loss, optimizer=sgd(0.0))],
        draw=lambda random, request: {"images": next(iter(request.given.values()), None)} if request.given else {},
        outputs={"b": translated("a", "a", "b"), "a": translated("b", "b", "a")},
        ema=("a", "b"),
        prepare=prepare,
    )

variant = Variant(api=2, options=Training, build=build, needs=("a", "b"), sampling=Sampling)
'''


def install_translator(site: Path) -> None:
    """Installs the variant `translator`: output b is a, output a is b, each moved by the sampling option `shift`."""
    install(site, distribution="translator-gan", name="translator", code=CODE)


def images(count: int, seed: int) -> np.ndarray:
    """Returns grey noise (count, 8, 8) uint8 in [40, 200]."""
    return np.random.default_rng(seed).integers(40, 201, (count, 8, 8), np.uint8)


def write(folder: Path, pictures: np.ndarray) -> None:
    """Writes images as 000.png, 001.png, ..."""
    folder.mkdir(parents=True)
    for number, pixels in enumerate(pictures):
        Image.fromarray(pixels).save(folder / f"{number:03d}.png")


def write_pairs(root: Path, *, train: int = 80, test: int = 10) -> str:
    """Writes pairs of unrelated noise, and returns the data set's name."""
    for split, count, seed in (("train", train, 0), ("test", test, 10)):
        if count:
            write(root / "A" / split, images(count, seed))
            write(root / "B" / split, images(count, seed + 1))
    return f"pairs:{root}"


def write_domains(root: Path) -> str:
    """Writes 70 and 90 training images and 40 and 24 test images of two domains; returns the data set's name."""
    for seed, (folder, count) in enumerate({"trainA": 70, "trainB": 90, "testA": 40, "testB": 24}.items()):
        write(root / folder, images(count, seed))
    return f"unpaired:{root}"
