"""More processes than GPUs are refused, or moved to CPUs. There is no GPU here: torch is made to say there is one."""

import os
from argparse import Namespace
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from accelerate.commands.launch import _validate_launch_command, launch_command_parser
from accelerate.utils.launch import prepare_multi_gpu_env, prepare_simple_launcher_cmd_env

from gan_core.app.load import load_run
from gan_core.testing import checks_of
from tests.conftest import ROOT, gan_core
from tests.test_plugin_loading import install

ONE_GPU = """
import types
import torch
from gan_core_dcgan import variant

torch.accelerator.is_available = lambda: True
torch.accelerator.device_count = lambda: 1
torch.accelerator.current_accelerator = lambda check_available=False: torch.device("cuda")
torch._C._get_accelerator = lambda *checked: torch.device("cuda")
torch.accelerator.current_stream = lambda: types.SimpleNamespace(is_capturing=lambda: False)  # Optimizers ask for it.
"""
"""A plugin which makes torch say that the machine has one GPU. What would use it fails, for there is no driver."""

PATCHED = (
    *((torch.accelerator, name) for name in ("is_available", "device_count", "current_accelerator", "current_stream")),
    (torch._C, "_get_accelerator"),
)

TRAIN = ("train", "--variant", "one-gpu", "--set", "width=4", "--batch", "16", "--steps", 3)


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    folder = tmp_path / "site"
    folder.mkdir()
    install(folder, distribution="one-gpu-gan", name="one-gpu", code=ONE_GPU)
    monkeypatch.syspath_prepend(folder)
    for owner, name in PATCHED:  # Put back after the test, where the plugin is imported into this process.
        monkeypatch.setattr(owner, name, getattr(owner, name))
    return os.pathsep.join([str(folder), *filter(None, [os.environ.get("PYTHONPATH")])])


def test_more_processes_than_gpus_are_refused_with_both_ways_out(tmp_path: Path, site: str) -> None:
    output = gan_core(*TRAIN, "--out", tmp_path / "run", processes=2, expect=1, PYTHONPATH=site)
    assert output.count("error: ") == 1
    assert "2 processes" in output
    assert "accelerate launch --num_processes 1" in output
    assert "ACCELERATE_USE_CPU=1" in output
    assert not (tmp_path / "run").exists()


def test_a_rank_beyond_the_visible_gpus_is_refused(tmp_path: Path, site: str) -> None:
    """As where a cluster gives each process one GPU to see, but numbers the processes over the machine."""
    rank = {"LOCAL_RANK": "1", "RANK": "0", "WORLD_SIZE": "1"}
    output = gan_core(*TRAIN, "--out", tmp_path / "run", expect=2, PYTHONPATH=site, **rank)
    assert "LOCAL_RANK=1" in output
    assert "sees 1 GPU" in output


def test_two_processes_train_on_the_cpus_of_a_machine_with_one_gpu(tmp_path: Path, site: str) -> None:
    words = (*TRAIN, "--evaluate-every", "0.048", "--evaluate-samples", "64", "--evaluate-features", "random")
    output = gan_core(*words, "--out", tmp_path / "run", processes=2, PYTHONPATH=site, ACCELERATE_USE_CPU="1")
    assert "2 processes on CPU" in output
    assert "finished at 0.048 kimg" in output


def test_the_conformance_kit_trains_on_the_cpus_of_a_machine_with_one_gpu(
    site: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", site)
    next(check for check in checks_of("one-gpu") if check.name == "trains_the_same_anywhere")()


def test_samples_are_drawn_on_the_cpu_where_that_is_asked_for(
    run: Path, site: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    exec(ONE_GPU, {})
    monkeypatch.setenv("ACCELERATE_USE_CPU", "1")
    assert load_run(run).sampler(0).draw_all(2).device.type == "cpu"


@pytest.mark.parametrize(
    ("name", "environment_of"), [("cpu-1", prepare_simple_launcher_cmd_env), ("cpu-2", prepare_multi_gpu_env)]
)
def test_a_launcher_file_for_cpus_hides_gpus(
    name: str, environment_of: Callable[[Namespace], object], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1")
    words = ["--config_file", str(ROOT / "launch" / f"{name}.yaml"), "-m", "gan_core"]
    args, _, _ = _validate_launch_command(launch_command_parser().parse_args(words))
    found = environment_of(args)
    environment: dict[str, str] = found[1] if isinstance(found, tuple) else found  # type: ignore[assignment]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", environment["CUDA_VISIBLE_DEVICES"])
    visible = torch.cuda._parse_visible_devices()
    assert environment.get("ACCELERATE_USE_CPU") == "True" or visible == []


def test_tests_see_no_gpu() -> None:
    assert torch.cuda._parse_visible_devices() == []
