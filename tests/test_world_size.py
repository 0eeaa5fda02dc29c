"""The result does not depend on how many processes compute it: 1 x 64 = 2 x 32 = 4 x 16 images."""

import os
from pathlib import Path

import pytest
import torch

from gan_core.cli.tables.plan import plan_rows
from tests import forked
from tests.conftest import ROOT, difference, make_job, metrics, weights
from tests.worlds import ALL, CODED, WITHOUT_BATCH_NORM


def trained(root: Path, *words: str) -> dict[int, Path]:
    """Returns the folders of what tests.worlds trains, by the number of processes."""
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = forked.run(["tests.worlds", str(root), *words], folder=ROOT, environment=environment, timeout=600)
    assert done.returncode == 0, done.stderr
    return {world: root / str(world) for world in (1, 2, 4)}


@pytest.fixture(scope="module")
def worlds(tmp_path_factory: pytest.TempPathFactory) -> dict[int, Path]:
    """Every variant, trained with one, two and four processes."""
    return trained(tmp_path_factory.mktemp("worlds"))


@pytest.fixture(scope="module")
def coded(tmp_path_factory: pytest.TempPathFactory) -> dict[int, Path]:
    """Generators with a class or a code, and augmentation, trained likewise."""
    return trained(tmp_path_factory.mktemp("coded"), "coded")


@pytest.mark.parametrize(("kind", "world"), [("double", 2), ("double", 4), ("halves", 2)])
@pytest.mark.parametrize("name", ALL)
def test_float64_agrees_to_1e_9_after_20_steps(worlds: dict[int, Path], name: str, kind: str, world: int) -> None:
    one, many = (weights(worlds[count] / kind / name) for count in (1, world))
    assert difference(one, many) < 1e-9


@pytest.mark.slow
@pytest.mark.parametrize("world", [2, 4])
@pytest.mark.parametrize("name", CODED)
def test_generators_with_a_class_or_a_code_agree_to_1e_9_after_6_steps(
    coded: dict[int, Path], name: str, world: int
) -> None:
    one, many = (weights(coded[count] / "coded" / name) for count in (1, world))
    assert difference(one, many) < 1e-9


@pytest.mark.parametrize(("kind", "world"), [("double", 2), ("double", 4), ("halves", 2)])
def test_a_pool_of_fakes_is_the_same(worlds: dict[int, Path], kind: str, world: int) -> None:
    one, many = (worlds[count] / kind / "memory" for count in (1, world))
    pools, means = (
        [torch.load(run / "checkpoints" / "000001280" / f"state-{name}.pt", weights_only=True) for run in (one, many)]
        for name in ("pool", "means")
    )
    assert len(pools[0]["images"]) == 50
    assert difference(*({str(at): image for at, image in enumerate(pool["images"])} for pool in pools)) < 1e-9
    assert difference(*means) < 1e-9
    for run in (one, many):
        assert sum(line.get("discriminator/skipped", 0) for line in metrics(run)) == 1


@pytest.mark.parametrize("name", ALL)
def test_float32_agrees_to_2e_6_after_one_step(worlds: dict[int, Path], name: str) -> None:
    one, many = (weights(worlds[count] / "single" / name) for count in (1, 2))
    assert difference(one, many) < 2e-6


@pytest.mark.parametrize("name", WITHOUT_BATCH_NORM)
def test_64_images_equal_two_micro_batches_of_32(worlds: dict[int, Path], name: str) -> None:
    full, halves = (weights(worlds[1] / kind / name) for kind in ("plain", "plain-halves"))
    assert difference(full, halves) < 1e-9


def test_batch_normalisation_depends_on_the_micro_batches(worlds: dict[int, Path]) -> None:
    full, halves = (weights(worlds[1] / kind / "dcgan") for kind in ("double", "halves"))
    trained = [name for name in full if name.endswith("weight")]
    assert difference(*({name: run[name] for name in trained} for run in (full, halves))) > 1e-6


def plan_of(*assignments: str, **flags: object) -> dict[str, str]:
    job = make_job(*assignments, **flags)
    return plan_rows(job, job.build(), 6400)


def test_the_plan_names_what_depends_on_the_number_of_processes() -> None:
    same = "the same on any number of processes, unless a loss or network draws random numbers itself"
    assert plan_of(variant="dcgan")["result"] == same
    assert plan_of("dropout=0.3", variant="acgan")["result"] == same
    job = make_job("dropout=0.3", "batchnorm=local", variant="acgan")
    game = job.build()
    game.networks["discriminator"].append_to = torch.nn.Dropout(0.5)  # A stranger's network, with torch's dropout.
    result = plan_rows(job, game, 6400)["result"]
    parts = "torch's dropout (discriminator), local batch normalisation (generator)"
    assert result == f"depends on the number of processes: {parts}"


def test_the_plan_names_networks_with_batch_statistics_per_micro_batch() -> None:
    assert plan_of("accumulate=2", variant="vanilla")["batch"] == "64 in 2 micro-batches"
    micro = "64 in 2 micro-batches, with separate batch statistics in generator and discriminator"
    assert plan_of("accumulate=2", variant="dcgan")["batch"] == micro
