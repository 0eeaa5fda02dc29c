"""What tests share: runs in this process, runs through the real launchers, and real MNIST where it is to be had."""

import atexit
import gc
import importlib
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

# Threads that wait must not keep the cores from processes that work: tests start many of them.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")
# No test sees a GPU: most start more processes than there are. As launch/cpu-2.yaml hides them, so that what it starts
# can be forked.
os.environ["CUDA_VISIBLE_DEVICES"] = "-1,-1"

import pytest
import torch
from accelerate.state import AcceleratorState
from rich.console import Console
from torch.distributed import destroy_process_group, init_process_group

from gan_core.app.training import start
from gan_core.cores import usable_cores
from gan_core.garbage import collect_rarely
from tests import each_test, forked
from tests.runs import difference as difference
from tests.runs import make_job as make_job
from tests.runs import metrics as metrics
from tests.runs import saved as saved
from tests.runs import weights as weights

ROOT = Path(__file__).parent.parent


LONGEST = (
    *("test_world_size", "test_readme", "test_launching", "test_signals", "test_fork_server"),
    *("test_conformance", "test_heartbeat", "test_lost_processes", "test_data", "test_runs", "test_two_machines"),
    "test_storm",
)
"""Test files that take twenty seconds or more. They come first, so that no process has one to do while others idle."""


def pytest_configure(config: pytest.Config) -> None:
    """Gives each process of pytest, and all that it starts, cores of its own: threads do not wait for each other."""
    config.pluginmanager.register(each_test)
    worker = os.environ.get("PYTEST_XDIST_WORKER")
    if worker is not None and sys.platform == "linux":
        cores = sorted(os.sched_getaffinity(0))
        number, count = int(worker.removeprefix("gw")), int(os.environ["PYTEST_XDIST_WORKER_COUNT"])
        os.sched_setaffinity(0, cores[number::count] or [cores[number % len(cores)]])
        torch.set_num_threads(usable_cores())
        # The conformance kit starts its runs with it, also for the plugins' own tests.
        sys.executable = str(forked.stand_ins() / "python")


def pytest_collection_finish() -> None:
    """Keeps what is imported from the garbage collector, which accelerate calls at the end of each run."""
    for name in ("torch._dynamo", "torch.distributed.tensor"):  # Imported by the first run.
        importlib.import_module(name)
    collect_rarely()
    gc.collect()
    gc.freeze()
    atexit.register(gc.unfreeze)  # Libraries report what is left at the end.


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Sorts the longest files to the front."""
    items.sort(key=lambda item: LONGEST.index(item.path.stem) if item.path.stem in LONGEST else len(LONGEST))


@pytest.fixture(scope="session", autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """What gan_core caches is made anew, once for all tests and the processes that they start."""
    folder = tmp_path_factory.getbasetemp()
    shared = folder.parent if "PYTEST_XDIST_WORKER" in os.environ else folder
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(shared / "cache"))
        yield


@pytest.fixture(scope="session", autouse=True)
def _end_of_fork_server() -> Iterator[None]:
    """The server of forked commands, if a test has started it, ends with the tests."""
    yield
    forked.end_server()


@pytest.fixture
def single_process(tmp_path: Path) -> Iterator[None]:
    """A process group of one."""
    init_process_group("gloo", init_method=f"file://{tmp_path}/group", rank=0, world_size=1)
    yield
    destroy_process_group()


@pytest.fixture
def train() -> Callable[..., str]:
    """Trains in this process."""

    def run(*assignments: str, allowed: tuple[str, ...] = (), **flags: object) -> str:
        AcceleratorState._reset_state(reset_partial_state=True)
        return start(make_job(*assignments, **flags), allowed, Console(quiet=True))

    return run


SMALL = ("width=4", "sample_every=0.128", "checkpoint_every=0.128", "log_every=0.064")
"""Assignments of a small DCGAN that saves, samples and logs within a few steps of 32 images."""


@pytest.fixture
def run(tmp_path: Path, train: Callable[..., str]) -> Path:
    """A finished run of eight small steps, with checkpoints at 128 and 256 images."""
    assert train(*SMALL, variant="dcgan", batch=32, steps=8, out=tmp_path / "run") == "finished"
    return tmp_path / "run"


def command(*words: object, processes: int | None = None, folder: Path = Path(forked.PYTHON).parent) -> list[str]:
    """Returns the command line of gan_core, plain or through accelerate; `folder` has the executables."""
    arguments = [str(word) for word in words]
    if processes is None:
        return [str(folder / "python"), "-m", "gan_core", *arguments]
    launcher = [str(folder / "accelerate"), "launch"]
    if processes > 1:
        launcher += ["--config_file", str(ROOT / "launch" / f"cpu-{processes}.yaml")]
    return [*launcher, "-m", "gan_core", *arguments]


def gan_core(
    *words: object,
    processes: int | None = None,
    launched: bool = False,
    expect: int = 0,
    timeout: float = 300,
    **environment: str,
) -> str:
    """Runs gan_core as people do, checks its exit code, and returns what it printed.

    Its processes are forked from one that has imported torch. Where they are `launched`, accelerate starts them.
    """
    whole = os.environ | {"PYTHONWARNINGS": "default", "COLUMNS": "120"} | environment
    if launched:
        line = command(*words, processes=processes, folder=forked.stand_ins())
        done = subprocess.run(line, cwd=ROOT, env=whole, capture_output=True, text=True, timeout=timeout, check=False)
    else:
        module = ["gan_core", *map(str, words)]
        done = forked.run(module, folder=ROOT, environment=whole, processes=processes, timeout=timeout)
    output = done.stdout + done.stderr
    assert done.returncode == expect, f"exit code {done.returncode}:\n{output}"
    return output


def start_gan_core(
    *words: object, processes: int | None = None, real: bool = False, folder: Path = ROOT, **environment: str
) -> forked.Process:
    """Starts gan_core in its own process group, as a terminal does, in the checkout or another folder.

    One process is forked; several are started by accelerate, as forked processes or as `real` ones.
    """
    whole = os.environ | environment
    if processes is None:
        return forked.start(["gan_core", *map(str, words)], folder=folder, environment=whole)
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
    line = command(*words, processes=processes, **({} if real else {"folder": forked.stand_ins()}))
    return subprocess.Popen(line, cwd=folder, env=whole, **pipes, text=True, start_new_session=True)


@pytest.fixture
def mnist_root() -> Path:
    """A torchvision root with the real MNIST, from the environment variable GAN_CORE_DATA."""
    root = os.environ.get("GAN_CORE_DATA")
    if root is None or not (Path(root) / "MNIST" / "raw" / "train-images-idx3-ubyte").exists():
        pytest.skip("needs MNIST: set GAN_CORE_DATA to a torchvision root that holds it")
    return Path(root)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Prints the tables that tests have recorded."""
    for report in (*terminalreporter.getreports("passed"), *terminalreporter.getreports("failed")):
        for name, value in report.user_properties:
            if name == "table" and report.when == "call":
                terminalreporter.write_line(f"\n{value}")
