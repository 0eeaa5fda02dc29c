"""A step of every variant on tensors without values, where any read raises: nothing in it waits for a device.

torch's FakeTensorMode computes shapes only; `.item()`, `bool()`, `.tolist()` and `.numpy()` of its tensors raise.
"""

import pytest
import torch
from accelerate import Accelerator
from torch._subclasses.fake_tensor import DataDependentOutputException, FakeTensor, FakeTensorMode

from gan_core.app.setup import make_batch_source, read_tables
from gan_core.training.meter import Meter
from gan_core.training.phase_module import PhaseModule
from gan_core.training.phase_trainer import PhaseTrainer, Update
from gan_core.training.shared_fakes import SharedFakes
from tests import style_worlds
from tests.conftest import make_job
from tests.test_updates import CONSTANT
from tests.translation_worlds import SMALL, SMALL_PAIRS, write_domains, write_pairs
from tests.worlds import CODED, GAMES


@pytest.fixture(scope="module")
def translations(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[str, tuple[str, ...]]]:
    """The data set and the options of the variants that translate images."""
    root = tmp_path_factory.mktemp("pictures")
    return {
        "cyclegan": (write_domains(root / "domains"), SMALL),
        "pix2pix": (write_pairs(root / "pairs"), SMALL_PAIRS),
    }


def empty(module: torch.nn.Module, mode: FakeTensorMode) -> None:
    """Replaces the parameters and buffers by tensors without values."""
    for part in module.modules():
        for name, parameter in part._parameters.items():
            if parameter is not None:
                part._parameters[name] = torch.nn.Parameter(mode.from_tensor(parameter.detach()))
        for name, buffer in part._buffers.items():
            if buffer is not None:
                part._buffers[name] = mode.from_tensor(buffer)


def updates(name: str, *assignments: str, **flags: object) -> list[Update]:
    """Takes the updates of a step in which every phase is updated."""
    job = make_job(*assignments, variant=name, batch=4, **flags)
    accelerator = Accelerator(cpu=True, device_placement=False)
    game, tables, found = job.build(), read_tables(job, accelerator), []
    with FakeTensorMode(allow_non_fake_inputs=True) as mode:
        for module in (*game.networks.values(), *game.state.values()):
            if isinstance(module, torch.nn.Module):
                empty(module, mode)
        source = make_batch_source(job, accelerator, game, tables, 1000)
        modules = [PhaseModule(phase, game.networks) for phase in game.phases]
        fakes, meter = SharedFakes(modules, accelerator.autocast), Meter(accelerator, nan_limit=1)
        trainers: dict[str, PhaseTrainer] = {}
        for module in modules:
            owner = module.phase.optimizer
            shared = trainers[owner].optimizer if isinstance(owner, str) else None
            trainers[module.phase.name] = PhaseTrainer(module, accelerator, CONSTANT, None, shared=shared, fakes=fakes)
        for phase, batches in source.step(0):
            found.append(trainers[phase.name].update(batches, 0))
            meter.add(phase.name, found[-1], 0)
    return found


def check(found: list[Update]) -> None:
    assert len(found) >= 2
    assert all(isinstance(term, FakeTensor) for update in found for term in update.terms.values())


@pytest.mark.parametrize("name", [*GAMES, *CODED])
def test_a_step_reads_no_value(name: str) -> None:
    variant, *assignments = {**GAMES, **CODED}[name]
    check(updates(variant, *assignments))


@pytest.mark.parametrize("name", style_worlds.GAMES)
def test_a_step_with_lazy_penalties_and_schedules_reads_no_value(name: str) -> None:
    check(updates(name, *style_worlds.GAMES[name]))


@pytest.mark.parametrize("name", ["cyclegan", "pix2pix"])
def test_a_step_of_a_translation_reads_no_value(
    name: str, translations: dict[str, tuple[str, tuple[str, ...]]]
) -> None:
    dataset, assignments = translations[name]
    check(updates(name, *assignments, dataset=dataset))


def test_a_read_raises() -> None:
    with FakeTensorMode(), pytest.raises(DataDependentOutputException):
        torch.ones(()).item()
