"""launch/slurm.sh under a real SLURM, with two nodes on this machine. The processes that it starts are real, too.

Part of `make test-faults`. tests/test_launching.py runs the script where SLURM is not installed.
"""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml

from tests.conftest import difference, metrics, weights
from tests.launchers import GAME, LAUNCH, metadata
from tests.slurm_cluster import Cluster, cluster, missing

pytestmark = pytest.mark.slow
LONG = (*GAME, "--checkpoint-every", "100000", "--sample-every", "100000")
"""Saves and samples nothing before it is interrupted."""


@pytest.fixture(scope="module")
def slurm() -> Iterator[Cluster]:
    if missing():
        pytest.skip(f"needs SLURM ({', '.join(missing())}): apt-get install slurm-wlm munge")
    with cluster() as running:
        yield running


def submit(slurm: Cluster, flags: tuple[str, ...], *words: object) -> str:
    """Submits the script with flags of sbatch and arguments of `gan_core train`, and returns the number of the job."""
    log = f"--output={slurm.folder}/%x-%j.log"
    return slurm.call("sbatch", "--parsable", "--cpus-per-task=1", log, *flags, LAUNCH / "slurm.sh", *words)


def output(slurm: Cluster, job: str) -> str:
    return (slurm.folder / f"gan_core-{job}.log").read_text()


def test_a_job_at_its_time_limit_saves_and_its_requeued_job_resumes_and_equals_an_undisturbed_run(
    slurm: Cluster, train: Callable[..., str], tmp_path: Path
) -> None:
    run, plan = tmp_path / "run", tmp_path / "plan.yaml"
    plan.write_text("steps: 1000000")
    # SLURM looks at the limits every 30 seconds: the signal comes 30 to 60 seconds after the start.
    job = submit(slurm, ("--time=2", "--signal=B:USR1@60"), *LONG, "--config", plan, "--out", run)
    slurm.wait_until(lambda: (run / "run.json").exists() and metadata(run)["status"] == "interrupted")
    images = metadata(run)["images_saved"]
    # How far it came depends on the machine. The requeued job trains 20 steps more.
    steps = images // 16 + 20
    plan.write_text(f"steps: {steps}")
    slurm.wait_until(lambda: slurm.job(job)["JobState"] not in ("RUNNING", "COMPLETING", "PENDING"))

    log = output(slurm, job)
    ended = slurm.job(job)
    assert (ended["JobState"], ended["ExitCode"]) == ("COMPLETED", "0:0"), log
    assert int(ended["Restarts"]) >= 1
    # SLURM has appended to the log of the first start.
    first, _, second = log.partition(f"interrupted at {images / 1000:g} kimg, saved")
    assert "2 processes on CPU" in first
    assert "2 processes on CPU" in second
    assert f"resuming at {images / 1000:g} kimg" in second
    assert metadata(run)["status"] == "finished"
    assert [line["step"] for line in metrics(run)] == list(range(1, steps + 1))
    settings = (word for word in GAME if "=" in word)
    train(*settings, variant="dcgan", batch=16, precision="fp64", steps=steps, out=tmp_path / "undisturbed")
    assert difference(weights(run), weights(tmp_path / "undisturbed")) < 1e-9


def test_in_an_array_only_the_signalled_task_is_requeued_and_scancel_saves_all_and_requeues_none(
    slurm: Cluster, tmp_path: Path
) -> None:
    words = (*LONG, "--steps", 1_000_000, "--seed", "%a", "--out", tmp_path / "seed-%a")
    array = submit(slurm, ("--array=3-4", "--nodes=1"), *words)
    runs = {f"{array}_{seed}": tmp_path / f"seed-{seed}" for seed in (3, 4)}
    slurm.wait_until(lambda: all((run / "metrics.jsonl").exists() for run in runs.values()))
    assert [yaml.safe_load((run / "config.yaml").read_text())["seed"] for run in runs.values()] == [3, 4]
    other, signalled = runs
    # The number of this task is also that of the whole array.
    assert slurm.job(signalled)["JobId"] == array
    slurm.call("scancel", "--batch", "--signal=USR1", signalled)  # As SLURM does before the time limit.
    slurm.wait_until(lambda: "resuming at" in output(slurm, array))
    assert {task: slurm.job(task)["Restarts"] for task in runs} == {other: "0", signalled: "1"}
    assert metadata(runs[other])["status"] == "running"

    lines = len(metrics(runs[signalled]))
    slurm.wait_until(lambda: len(metrics(runs[signalled])) > lines)
    slurm.call("scancel", array)
    slurm.wait_until(lambda: all(slurm.job(task)["JobState"] == "CANCELLED" for task in runs))
    for task, run in runs.items():
        ended = metadata(run)
        assert ended["status"] == "interrupted", slurm.logs()
        assert ended["images_saved"] == ended["images_seen"] == 16 * len(metrics(run))
        assert (run / "checkpoints" / f"{ended['images_saved']:09d}" / "manifest.json").exists()
        assert slurm.job(task)["Restarts"] == ("1" if task == signalled else "0")
