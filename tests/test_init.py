"""`init`: a run that starts from the networks of another one."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from gan_core.errors import UserError
from tests.conftest import SMALL, difference, gan_core, metrics, weights

Train = Callable[..., str]
FLAGS = {"variant": "dcgan", "batch": 32}


@pytest.fixture
def first(run: Path) -> Path:
    """Another run: eight steps, with checkpoints at 128 and 256 images."""
    return run


def test_networks_and_averages_are_those_of_the_other_run(first: Path, tmp_path: Path, train: Train) -> None:
    train(*SMALL, "lr=1e-30", **FLAGS, steps=1, out=tmp_path / "new", init=str(first), seed=3)
    new, old = weights(tmp_path / "new"), weights(first)
    learned = [name for name in old if not name.endswith(("running_mean", "running_var", "num_batches_tracked"))]
    assert any(name.startswith("ema-generator/") for name in learned)
    for name in learned:
        if not name.startswith("ema-"):
            assert torch.equal(new[name], old[name]), name
    # The averages begin as those of the other run, and with their full half-life of 10 kimg: after 32 images they have
    # moved by 1 - 0.5 ** (32 / 10,000) towards the weights.
    for name in (name for name in learned if name.startswith("ema-")):
        weight = 1 - 0.5 ** (32 / 10_000)
        expected = old[name] + weight * (old[name.removeprefix("ema-")] - old[name])
        assert torch.allclose(new[name], expected, atol=1e-7), name


def test_a_checkpoint_can_be_named_and_is_recorded(first: Path, tmp_path: Path, train: Train) -> None:
    train(*SMALL, "lr=1e-30", **FLAGS, steps=1, out=tmp_path / "new", init=f"{first}:128")
    name = next(key for key in weights(first) if key.startswith("generator/") and key.endswith(".weight"))
    assert torch.equal(weights(tmp_path / "new")[name], weights(first, 128)[name])
    recorded = json.loads((tmp_path / "new" / "run.json").read_text())["init"]
    assert (recorded["run"], recorded["images_seen"], recorded["variant"]) == (str(first), 128, "dcgan")
    assert recorded["data"] == {"images": json.loads((first / "run.json").read_text())["data"]["images"]["fingerprint"]}


def test_a_resumed_run_equals_an_uninterrupted_one_also_without_the_other_run(
    first: Path, tmp_path: Path, train: Train
) -> None:
    flags = FLAGS | {"init": str(first), "seed": 5}
    train(*SMALL, **flags, steps=6, out=tmp_path / "straight")
    train(*SMALL, **flags, steps=4, out=tmp_path / "resumed")
    shutil.rmtree(first)
    train(*SMALL, **flags, steps=6, out=tmp_path / "resumed")
    assert difference(weights(tmp_path / "straight"), weights(tmp_path / "resumed")) == 0
    dropped = ("images_per_second",)
    lines = [
        [{key: value for key, value in line.items() if key not in dropped} for line in metrics(tmp_path / name)]
        for name in ("straight", "resumed")
    ]
    assert lines[0][-1] == lines[1][-1]
    assert json.loads((tmp_path / "resumed" / "run.json").read_text())["init"]["images_seen"] == 256


def test_two_processes_start_from_the_same_networks(first: Path, tmp_path: Path) -> None:
    words = ("train", "--variant", "dcgan", "--set", "width=4", "--batch", 32, "--steps", 2, "--precision", "fp64")
    words += ("--init", first, "--set", "threads=1")
    for name, processes in (("one", None), ("two", 2)):
        gan_core(*words, "--out", tmp_path / name, processes=processes)
    assert difference(weights(tmp_path / "one"), weights(tmp_path / "two")) < 1e-9


def test_shapes_that_differ_are_named_and_nothing_is_written(first: Path, tmp_path: Path, train: Train) -> None:
    with pytest.raises(UserError) as error:
        train("width=8", **FLAGS, steps=1, out=tmp_path / "new", init=str(first))
    text = str(error.value)
    assert text.startswith(f"init: the networks of {first / 'checkpoints' / '000000256'} do not fit:\n  generator.")
    assert "running_var is 4 there, and 8 here\n" in text  # Of the last hidden layer, which has `width` channels.
    assert text.endswith("Use the variant, the options and the image size and channels of that run")
    assert not (tmp_path / "new").exists()
    with pytest.raises(UserError, match=r"generator.label.weight is missing there, and 10 x 50 here"):
        train("width=4", variant="acgan", batch=32, steps=1, out=tmp_path / "new", init=str(first))


@pytest.mark.parametrize(
    ("init", "message"),
    [
        ("{}x", "init: '.*runx' is not a run: it has no config.yaml"),
        ("{}:best", "init: checkpoint: 'best' is not known of .* Train with --keep-lowest METRIC"),
        ("{}:100", r"init: checkpoint: .* has none of 100 images seen. The nearest one is 128"),
    ],
)
def test_a_run_that_is_not_there_is_refused_before_data_is_read(
    init: str, message: str, first: Path, tmp_path: Path, train: Train
) -> None:
    with pytest.raises(UserError, match=message):
        train(*SMALL, **FLAGS, steps=1, out=tmp_path / "new", init=init.format(first))
    with pytest.raises(UserError, match="is the folder of this run"):
        train(*SMALL, **FLAGS, steps=1, out=first, init=str(first), resume="restart")
