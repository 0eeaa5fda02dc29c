"""Runs and image folders that were moved or copied: a config file means its own folder, and data may be elsewhere."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from rich.console import Console

from gan_core.app.evaluating import evaluate_run
from gan_core.errors import UserError
from gan_core.sampling.files import picture
from gan_core.settings.evaluation import EvaluationSettings
from tests.conftest import difference, gan_core, metrics, weights
from tests.test_data import picture as write_pixels
from tests.test_plugin_loading import install

SMALL = ("--variant", "dcgan", "--set", "width=4", "--batch", 16, "--set", "log_every=0.016")


@pytest.fixture
def images(tmp_path: Path) -> Path:
    folder = tmp_path / "images"
    folder.mkdir()
    for number in range(100):
        picture(torch.full((1, 8, 8), number * 2, dtype=torch.uint8)).save(folder / f"{number:03d}.png")
    return folder


@pytest.mark.parametrize("move", [shutil.move, shutil.copytree])
def test_the_config_of_a_moved_run_continues_it_where_it_is_now(move: object, tmp_path: Path) -> None:
    there, here = tmp_path / "there", tmp_path / "deep" / "here"
    here.parent.mkdir()
    gan_core("train", *SMALL, "--steps", 4, "--out", there)
    move(there, here)  # type: ignore[operator]
    before = weights(there) if there.exists() else None
    output = gan_core("train", "--config", here / "config.yaml", "--steps", 6)
    assert f"resuming at 0.064 kimg from {here}/checkpoints/000000064" in output
    assert [line["step"] for line in metrics(here)] == [1, 2, 3, 4, 5, 6]
    assert there.exists() == (before is not None)
    if before is not None:
        assert difference(before, weights(there)) == 0
        assert len(metrics(there)) == 4
    gan_core("train", "--config", here / "config.yaml", "--steps", 2, "--out", tmp_path / "new")
    assert len(metrics(tmp_path / "new")) == 2


def test_an_image_folder_may_be_moved(images: Path, tmp_path: Path) -> None:
    run, moved = tmp_path / "run", tmp_path / "moved"
    gan_core("train", *SMALL, "--dataset", f"folder:{images}", "--steps", 2, "--out", run)
    images.rename(moved)
    evaluate = ("evaluate", run, "--samples", 64, "--features", "random")
    assert "no such folder" in gan_core(*evaluate, expect=2) or "not a folder" in gan_core(*evaluate, expect=2)
    assert "precision" in gan_core(*evaluate, "--dataset", f"folder:{moved}")
    output = gan_core("train", *SMALL, "--dataset", f"folder:{moved}", "--steps", 4, "--out", run)
    assert "resuming at 0.032 kimg" in output
    (moved / "000.png").unlink()
    assert "was trained on other data" in gan_core(*evaluate, "--dataset", f"folder:{moved}", expect=2)
    refused = gan_core("train", *SMALL, "--dataset", f"folder:{moved}", "--steps", 6, "--out", run, expect=2)
    assert "has different settings" in refused


TRANSLATOR = """
from torch import nn
from gan_core import *

class Generator(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Conv2d(3, 3, 1)
    def forward(self, a):
        return self.layer(a).tanh()

def loss(networks, batch):
    return {"mean": (networks["generator"](batch.real["a"]).mean() - batch.real["b"].mean()).square()}

def build(options, data):
    def generate(networks, inputs, options):
        return networks["generator"](**inputs)
    return Game(
        networks={"generator": Generator()},
        phases=[Phase(name="generator", trains=("generator",), loss=loss, optimizer=sgd(0.1))],
        draw=lambda random, request: dict(request.given),
        outputs={"b": Output(generate=generate, like="b", given=("a",), columns=("a", "b"))},
    )

variant = Variant(api=2, options=Options, build=build, needs=("a", "b"))
"""


def test_unpaired_domains_may_be_moved_and_are_found_by_their_fingerprints(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, train: Callable[..., str]
) -> None:
    install(tmp_path, distribution="mover-gan", name="mover", code=TRANSLATOR)
    monkeypatch.syspath_prepend(tmp_path)
    for letter, count in (("A", 20), ("B", 64)):
        for number in range(count):
            write_pixels(tmp_path / "old" / f"train{letter}" / f"{number}.png", (12, 8), seed=number)
    flags = {"variant": "mover", "batch": 16, "image_size": 8, "out": tmp_path / "run", "mirror": True}
    assert train(dataset=f"unpaired:{tmp_path}/old", steps=2, **flags) == "finished"
    (tmp_path / "old").rename(tmp_path / "new")
    moved = f"unpaired:{tmp_path}/new"
    assert train(dataset=moved, steps=4, **flags) == "finished"
    assert [line["step"] for line in metrics(tmp_path / "run")][-1] == 4
    # The same numbers as without a move in between.
    assert train(dataset=moved, steps=4, **(flags | {"out": tmp_path / "straight"})) == "finished"
    assert difference(weights(tmp_path / "run"), weights(tmp_path / "straight")) == 0
    with pytest.raises(UserError, match="mirror  True in the run, False now"):
        train(dataset=moved, steps=6, **(flags | {"mirror": False}))

    request = EvaluationSettings(samples=64, features="random", dataset=moved)
    written = evaluate_run(tmp_path / "run", request, {}, Console(quiet=True))
    assert written is not None
    assert "kid" in written["metrics"]
    write_pixels(tmp_path / "new" / "trainA" / "more.png", (12, 8), seed=99)
    with pytest.raises(UserError, match=f"was trained on other data than '{moved}' is now"):
        evaluate_run(tmp_path / "run", request, {}, Console(quiet=True))
    with pytest.raises(UserError, match="has different settings"):
        train(dataset=moved, steps=6, **flags)
