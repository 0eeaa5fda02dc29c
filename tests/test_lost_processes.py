"""Lost processes: one that does not arrive, ends, hangs or has other settings is reported within the deadline."""

import signal
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
import torch

from gan_core.sampling.files import picture
from gan_core.testing.ports import free_ports
from tests.conftest import start_gan_core
from tests.forked import Process

TRAIN = ("train", "--variant", "vanilla", "--set", "width=4", "--batch", "8", "--sample-every", "1000")


@contextmanager
def processes(*words: list[object], folder: Path, **environment: str) -> Iterator[list[Process]]:
    """Starts the processes of a run without a launcher, as clusters do; an empty command line starts none."""
    where = environment | {
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(free_ports(1)[0]),
        "WORLD_SIZE": str(len(words)),
        "LOCAL_WORLD_SIZE": str(len(words)),
    }
    started = []
    for rank, mine in enumerate(words):
        if mine:
            (folder / str(rank)).mkdir(exist_ok=True)
            ranked = where | {"RANK": str(rank), "LOCAL_RANK": str(rank), "OMP_NUM_THREADS": "1"}
            started.append(start_gan_core(*mine, folder=folder / str(rank), **ranked))
    try:
        yield started
    finally:
        for process in started:
            process.kill()
            process.communicate()


def exit_of(process: Process) -> tuple[int, str]:
    _, errors = process.communicate(timeout=120)
    assert process.returncode is not None
    return process.returncode, errors


@pytest.mark.parametrize("missing", [0, 1])
def test_a_process_that_does_not_arrive_is_named_with_the_deadline(missing: int, tmp_path: Path) -> None:
    words = [*TRAIN, "--steps", 4, "--set", "deadline=3"]
    with processes(*([] if rank == missing else words for rank in range(2)), folder=tmp_path) as (other,):
        code, errors = exit_of(other)
    assert code == 1
    assert f"process {missing} of 2 did not arrive within 3 s" in errors
    assert "Traceback" not in errors


def test_processes_with_other_settings_are_refused(tmp_path: Path) -> None:
    one = [*TRAIN, "--steps", 4, "--seed", 1]
    other = [*TRAIN, "--steps", 4, "--set", "layers=3", "--set", "threads=1"]
    with processes(one, other, folder=tmp_path) as both:
        (code, errors), (other_code, other_errors) = map(exit_of, both)
    assert code == other_code == 2
    assert "seed: 1 in process 0, 0 in process 1" in errors
    assert "options.layers: 2 in process 0, 3 in process 1" in errors
    assert "threads" not in errors  # May differ between machines.
    assert "Traceback" not in errors + other_errors


def test_processes_with_other_data_are_refused(tmp_path: Path) -> None:
    for rank in range(2):
        images = tmp_path / str(rank) / "images"
        images.mkdir(parents=True)
        for number in range(8):
            pixels = torch.full((1, 8, 8), number, dtype=torch.uint8)
            pixels[0, 0, 0] += rank
            picture(pixels).save(images / f"{number}.png")
    words = [*TRAIN, "--steps", 4, "--dataset", "folder:images"]
    with processes(words, words, folder=tmp_path) as both:
        (code, errors), (other_code, _) = map(exit_of, both)
    assert code == other_code == 2
    assert "disagree on the data" in errors
    assert not (tmp_path / "0" / "runs").exists()


@pytest.mark.parametrize(("name", "expected"), [("samples", 2), ("config.yaml", 1)])
def test_an_error_of_process_0_ends_the_others_at_once_and_is_printed_once(
    name: str, expected: int, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    run.mkdir()
    if name == "samples":
        (run / name).write_text("in the way of a folder")
    else:
        (run / name).mkdir()
    words = [*TRAIN, "--steps", 4, "--out", run, "--set", "deadline=60"]
    with processes(words, words, folder=tmp_path) as both:
        (code, errors), (other_code, other_errors) = map(exit_of, both)
    assert code == expected
    assert other_code == 1
    assert name in errors
    assert "error" not in other_errors


def steps_done(run: Path) -> int:
    metrics = run / "metrics.jsonl"
    return len(metrics.read_text().splitlines()) if metrics.exists() else 0


def wait_until(condition: Callable[[], bool], process: Process) -> None:
    while not condition() and process.poll() is None:
        time.sleep(0.02)


def test_a_process_that_ends_or_hangs_is_named_and_the_run_can_resume(tmp_path: Path) -> None:
    words = [*TRAIN, "--steps", 1_000_000, "--checkpoint-every", 0.08, "--set", "log_every=0.08"]
    with ExitStack() as stack:  # Runs at once, because most of the time passes with waiting.
        runs = {}
        # Process 0 hosts the store through which the others learn who has ended.
        for number, lost in ((signal.SIGKILL, 1), (signal.SIGSTOP, 1), (signal.SIGSTOP, 0)):
            folder = tmp_path / f"{number.name}-{lost}"
            folder.mkdir()
            mine = [*words, "--out", folder / "run", "--set", "deadline=5"]
            runs[folder / "run"] = number, lost, stack.enter_context(processes(mine, mine, folder=folder))
        for run, (number, lost, both) in runs.items():
            wait_until(lambda run=run: steps_done(run) > 2, both[0])  # type: ignore[misc]
            both[lost].send_signal(number)
        for run, (_, lost, both) in runs.items():
            code, errors = exit_of(both[1 - lost])
            assert code == 1
            assert f"process {lost} of 2 ended or did not answer within 5 s" in errors
            assert "run the same command to resume" in errors
            assert "Traceback" not in errors
            assert list((run / "checkpoints").glob("*/manifest.json"))
