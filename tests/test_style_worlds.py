"""R3GAN and StyleGAN2: the same on 1, 2 and 4 processes, with noise, styles, schedules and groups of images."""

import os
from pathlib import Path

import pytest

from tests import forked
from tests.conftest import ROOT, difference, saved
from tests.style_worlds import GAMES


@pytest.fixture(scope="module")
def worlds(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("worlds")
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = forked.run(["tests.style_worlds", str(root)], folder=ROOT, environment=environment, timeout=600)
    assert done.returncode == 0, done.stderr
    return root


@pytest.mark.parametrize("world", [2, 4])
@pytest.mark.parametrize("name", GAMES)
def test_any_number_of_processes_has_the_same_result(worlds: Path, name: str, world: int) -> None:
    one, many = saved(worlds / "1" / name), saved(worlds / str(world) / name)
    if name == "stylegan2":
        assert float(one["state-path/mean"]) > 0
        assert float(one["generator/w_mean"].abs().max()) > 0
        assert float(one["generator/layers.0.noise.strength"].abs()) > 0
    assert difference(one, many) < 1e-9
