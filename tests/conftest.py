"""What tests share: runs in this process, runs through the real launchers, and real MNIST where it is to be had."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

# Threads that wait must not keep the cores from processes that work: tests start many of them.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

import pytest
import torch
from accelerate.state import AcceleratorState, GradientState
from rich.console import Console
from safetensors.torch import load_file
from torch import Tensor

from gan_core.app.job import Job
from gan_core.app.training import start
from gan_core.data.catalog import open_dataset
from gan_core.plugins.load import load_variant
from gan_core.settings.resolve import resolve
from tests import forked

ROOT = Path(__file__).parent.parent


@pytest.fixture(autouse=True)
def _fresh_accelerator() -> Iterator[None]:
    """accelerate keeps its state in singletons; every test begins without."""
    yield
    AcceleratorState._reset_state(reset_partial_state=True)
    GradientState._reset_state()
    torch.set_default_dtype(torch.float32)


@pytest.fixture(scope="session", autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """What gan_core caches is made anew, and kept while the tests run, also for the processes that they start."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="session", autouse=True)
def _end_of_fork_server() -> Iterator[None]:
    """The server of forked commands, if a test has started it, ends with the tests."""
    yield
    forked.end_server()


def make_job(*assignments: str, config: Path | None = None, **flags: object) -> Job:
    """Resolves settings as the command line does."""
    resolved = resolve(flags, assignments, config)
    settings = resolved.settings
    loaded = load_variant(settings.variant)
    dataset = open_dataset(
        settings.dataset, data_dir=settings.data_dir, image_size=settings.image_size, channels=settings.channels
    )
    options = resolved.options_as(loaded.variant.options)
    return Job(settings=settings, loaded=loaded, options=options, dataset=dataset)


@pytest.fixture
def train() -> Callable[..., str]:
    """Trains in this process."""

    def run(*assignments: str, allowed: tuple[str, ...] = (), **flags: object) -> str:
        AcceleratorState._reset_state(reset_partial_state=True)
        return start(make_job(*assignments, **flags), allowed, Console(quiet=True))

    return run


def command(*words: object, processes: int | None = None) -> list[str]:
    """Returns the command line of gan_core, plain or through accelerate."""
    arguments = [str(word) for word in words]
    if processes is None:
        return [sys.executable, "-m", "gan_core", *arguments]
    launcher = [str(Path(sys.executable).with_name("accelerate")), "launch"]
    if processes > 1:
        launcher += ["--config_file", str(ROOT / "launch" / f"cpu-{processes}.yaml")]
    return [*launcher, "-m", "gan_core", *arguments]


def gan_core(
    *words: object,
    processes: int | None = None,
    real: bool = False,
    expect: int = 0,
    timeout: float = 300,
    **environment: str,
) -> str:
    """Runs gan_core as people do, checks its exit code, and returns what it printed.

    Its processes are forked from one that has imported torch, or `real` ones, which accelerate starts where a number of
    processes is given.
    """
    whole = os.environ | {"PYTHONWARNINGS": "default", "COLUMNS": "120"} | environment
    if real:
        line = command(*words, processes=processes)
        done = subprocess.run(line, cwd=ROOT, env=whole, capture_output=True, text=True, timeout=timeout, check=False)
    else:
        module = ["gan_core", *map(str, words)]
        done = forked.run(module, folder=ROOT, environment=whole, processes=processes, timeout=timeout)
    output = done.stdout + done.stderr
    assert done.returncode == expect, f"exit code {done.returncode}:\n{output}"
    return output


def weights(run: Path, images_seen: int | None = None) -> dict[str, Tensor]:
    """Returns every tensor of a run's checkpoint, by file and name; the newest one unless told."""
    folders = sorted((run / "checkpoints").glob("[0-9]*"))
    folder = folders[-1] if images_seen is None else run / "checkpoints" / f"{images_seen:09d}"
    files = sorted(folder.glob("*.safetensors"))
    assert files
    # Cloned, for the file is mapped into memory and tests spoil it.
    return {f"{file.stem}/{name}": tensor.clone() for file in files for name, tensor in load_file(file).items()}


def metrics(run: Path) -> list[dict[str, Any]]:
    """Returns the lines that a run has logged."""
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


def difference(one: dict[str, Tensor], other: dict[str, Tensor]) -> float:
    """Returns the largest absolute difference between two runs' tensors, which must have the same names."""
    assert one.keys() == other.keys()
    return max(float((one[name].double() - other[name].double()).abs().max()) for name in one)


@pytest.fixture
def mnist_root() -> Path:
    """A torchvision root with the real MNIST, from the environment variable GAN_CORE_DATA."""
    root = os.environ.get("GAN_CORE_DATA")
    if root is None or not (Path(root) / "MNIST" / "raw" / "train-images-idx3-ubyte").exists():
        pytest.skip("needs MNIST: set GAN_CORE_DATA to a torchvision root that holds it")
    return Path(root)
