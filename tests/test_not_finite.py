"""NaN in one process's gradient: all processes stop and name it, or all skip the update."""

import json
import os
from pathlib import Path

import pytest
import torch

from tests.conftest import difference, gan_core, metrics, weights
from tests.test_plugin_loading import install

CODE = '''
import os
from pydantic import Field
from gan_core import Options, Variant
from gan_core_dcgan import DcganOptions
from gan_core_dcgan import variant as dcgan
from dataclasses import replace

class PoisonOptions(DcganOptions):
    """The options."""
    updates: list[int] = []
    """The discriminator's updates whose gradient is NaN, although every term is finite."""
    rank: int = 0
    """The only process with that gradient."""

def build(options, data):
    game = dcgan.build(options, data)
    update = -2  # The first call only finds unused parameters.

    def loss(networks, batch):
        nonlocal update
        update += 1
        terms = game.phases[0].loss(networks, batch)
        here = update in options.updates and int(os.environ.get("RANK", "0")) == options.rank
        weight = next(networks["discriminator"].parameters()).sum()
        return {**terms, "root": (0 * weight + (0.0 if here else 1.0)).sqrt()}

    return replace(game, phases=[replace(game.phases[0], loss=loss), *game.phases[1:]])

variant = Variant(api=2, options=PoisonOptions, build=build)
'''

TRAIN = (
    *("train", "--variant", "poison", "--set", "width=4", "--batch", "16", "--precision", "fp64", "--steps", "12"),
    *("--set", "log_every=0.032", "--checkpoint-every", "0.064", "--sample-every", "1000"),
)


@pytest.fixture
def site(tmp_path: Path) -> str:
    folder = tmp_path / "site"
    folder.mkdir()
    install(folder, distribution="poison-gan", name="poison", code=CODE)
    return os.pathsep.join([str(folder), *filter(None, [os.environ.get("PYTHONPATH")])])


def skipped(run: Path) -> list[tuple[int, float]]:
    lines = metrics(run)
    return [(line["step"], line["discriminator/skipped"]) for line in lines if "discriminator/skipped" in line]


def test_nan_in_one_process_stops_all_with_phase_term_step_and_process(tmp_path: Path, site: str) -> None:
    run = tmp_path / "run"
    poison = ("--set", "updates=[9]", "--set", "rank=1", "--out", run)
    output = gan_core(*TRAIN, *poison, processes=2, expect=1, PYTHONPATH=site)
    assert "error: discriminator: gradient norm is not finite from step 9 on (first seen on process 1)" in output
    assert json.loads((run / "run.json").read_text())["status"] == "failed"
    saved = weights(run)
    assert all(tensor.isfinite().all() for tensor in saved.values())
    assert sorted(path.name for path in (run / "checkpoints").iterdir()) == ["000000064", "000000128"]


def test_skipping_is_the_same_on_all_processes_and_counted(tmp_path: Path, site: str) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    poison = ("--on-nan", "skip", "--set", "updates=[5,6,9]")
    gan_core(*TRAIN, *poison, "--out", one, PYTHONPATH=site)
    gan_core(*TRAIN, *poison, "--set", "rank=1", "--out", two, processes=2, PYTHONPATH=site)
    assert skipped(one) == skipped(two) == [(6, 1.0), (8, 1.0), (10, 1.0)]
    assert difference(weights(one), weights(two)) < 1e-9
    assert all(tensor.isfinite().all() for tensor in weights(one).values())
    step = {
        run: torch.load(run / "checkpoints" / "000000192" / "optimizer-discriminator.pt", weights_only=True)["state"][0]
        for run in (one, two)
    }
    assert {float(state["step"]) for state in step.values()} == {12 - 3}


def test_too_many_skips_in_a_row_stop_the_run(tmp_path: Path, site: str) -> None:
    poison = ("--on-nan", "skip", "--set", "updates=[1,2,4,5,6,7]", "--set", "nan_limit=3", "--out", tmp_path / "run")
    output = gan_core(*TRAIN, *poison, expect=1, PYTHONPATH=site)
    assert "discriminator: gradient norm is not finite from step 7 on (first seen on process 0)" in output
    assert "3 updates in a row were skipped before" in output
