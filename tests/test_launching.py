"""Every file in launch/ works as documented. SLURM and Kubernetes are emulated; the processes they start are real.

tests/test_slurm.py uses a real SLURM.
"""

import os
import re
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from accelerate.commands.launch import _validate_launch_command, launch_command_parser

from gan_core.testing.ports import free_ports
from tests import forked
from tests.conftest import difference, weights
from tests.launchers import (
    GAME,
    LAUNCH,
    PATH,
    finished,
    metadata,
    on_machine,
    several_machines,
    started,
    wait_until_training,
)

CONFIGS = sorted(file.name for file in LAUNCH.glob("*.yaml") if file.name not in ("kubernetes.yaml", "sweep.yaml"))
LONG = (*GAME, "--steps", "80", "--checkpoint-every", "1000", "--sample-every", "1000")
"""At least a second of training, which leaves time for a signal."""


@pytest.fixture
def undisturbed(train: Callable[..., str], tmp_path: Path) -> Callable[[], Path]:
    """Trains LONG in this process, to its end."""

    def run() -> Path:
        train(
            *(word for word in GAME if "=" in word),
            variant="dcgan",
            batch=16,
            precision="fp64",
            steps=80,
            checkpoint_every=1000,
            sample_every=1000,
            out=tmp_path / "undisturbed",
        )
        return tmp_path / "undisturbed"

    return run


@pytest.mark.parametrize("name", CONFIGS)
def test_accelerate_uses_every_line_of_a_config_file(name: str) -> None:
    """It refuses unknown keys, and ignores some known ones: rdzv_backend, same_network."""
    lines = yaml.safe_load((LAUNCH / name).read_text())
    flags = [] if "num_processes" in lines else ["--num_processes", "2"]
    words = ["--config_file", str(LAUNCH / name), *flags, "-m", "gan_core"]
    args, _, _ = _validate_launch_command(launch_command_parser().parse_args(words))
    assert args.multi_gpu == (lines.pop("distributed_type") == "MULTI_GPU")
    assert {key: getattr(args, key) for key in lines} == lines


@pytest.mark.parametrize("name", [name for name in CONFIGS if "num_processes" not in (LAUNCH / name).read_text()])
def test_accelerate_requires_the_number_of_processes_if_a_file_does_not_give_it(name: str) -> None:
    words = ["--config_file", str(LAUNCH / name), "-m", "gan_core"]
    with pytest.raises(ValueError, match="--num_processes"):
        _validate_launch_command(launch_command_parser().parse_args(words))


@pytest.mark.slow
# Not accelerate with c10d, because on one machine the second launcher finds the port in use; see test_two_machines.py.
@pytest.mark.parametrize("kind", ["accelerate-static", "torchrun-static", "torchrun-c10d"])
def test_two_launchers_of_one_process_each_are_two_processes(kind: str, tmp_path: Path) -> None:
    port, flags = free_ports(1)[0], (*GAME, "--steps", 10, "--out", tmp_path / "run")
    commands = [
        on_machine(several_machines(kind), machine, *flags, address="127.0.0.1", port=port) for machine in (0, 1)
    ]
    with started(tmp_path, *commands) as machines:
        assert finished(machines) == [0, 0]
    output = "".join((tmp_path / f"{machine}.log").read_text() for machine in (0, 1))
    assert output.count("2 processes on") == 1
    assert metadata(tmp_path / "run")["status"] == "finished"


SLURM = {
    # Starts the command once per node. Like the real one, it kills its tasks when it gets a SIGTERM.
    "srun": """
        while [[ $1 == --* ]]; do shift; done
        trap 'kill -KILL $(<"$STEP")' TERM
        : >"$STEP"
        tasks=()
        for ((node = 0; node < SLURM_NNODES; node++)); do
            SLURM_NODEID=$node SLURM_PROCID=$node "$@" &
            tasks+=($!)
            echo $! >>"$STEP"
        done
        status=0
        for task in "${tasks[@]}"; do wait "$task" || status=$?; done
        exit $status
    """,
    # Signals the tasks, but not the batch shell.
    "scancel": """
        [[ $# == 2 && $2 == "${SLURM_ARRAY_JOB_ID}_$SLURM_ARRAY_TASK_ID" ]] && kill -s "${1#--signal=}" $(<"$STEP")
    """,
    "scontrol": """
        case "$1 $2" in
            "show hostnames") [[ $3 == "$SLURM_JOB_NODELIST" ]] && printf 'node01\\nnode02\\n' ;;
            "show node") [[ $3 == node01 ]] && printf 'NodeName=node01\\n   NodeAddr=127.0.0.1 NodeHostName=here\\n' ;;
            *) echo "$*" >>"$REQUEUED" ;;
        esac
    """,
}
"""The SLURM commands that the script needs."""


def test_the_slurm_job_saves_requeues_itself_and_resumes_exactly(
    tmp_path: Path, undisturbed: Callable[[], Path]
) -> None:
    for name, body in SLURM.items():
        (tmp_path / name).write_text(f"#!/usr/bin/env bash\n{body}")
        (tmp_path / name).chmod(0o755)
    job, run, requeued = str(os.getpid()), tmp_path / "run-3", tmp_path / "requeued"
    environment = {
        "PATH": f"{tmp_path}:{PATH}",
        "SLURM_JOB_ID": job,
        "SLURM_ARRAY_JOB_ID": job,
        "SLURM_ARRAY_TASK_ID": "3",
        "SLURM_JOB_NODELIST": "node[01-02]",
        "SLURM_NNODES": "2",
        "STEP": str(tmp_path / "step"),
        "REQUEUED": str(requeued),
    }
    script = LAUNCH / "slurm.sh"
    directives = re.findall(r"^#SBATCH (.*)$", script.read_text(), flags=re.MULTILINE)
    assert "--requeue" in directives
    (signal_name,) = re.findall(r"^--signal=B:(\w+)@\d+$", "\n".join(directives), flags=re.MULTILINE)
    command = ["bash", str(script), *LONG, "--out", str(tmp_path / "run-%a")]

    with started(tmp_path / "first", command, **environment) as (batch,):
        wait_until_training(run, [batch])
        batch.send_signal(signal.Signals[f"SIG{signal_name}"])
        finished([batch])
    assert requeued.read_text() == f"requeue {job}_3\n"
    first = metadata(run)
    assert first["status"] == "interrupted"
    assert (run / "checkpoints" / f"{first['images_seen']:09d}" / "manifest.json").exists()

    forks = {"PATH": f"{tmp_path}:{forked.stand_ins()}:{PATH}"}
    with started(tmp_path / "second", command, **(environment | forks)) as batches:
        assert finished(batches) == [0]
    assert "resuming at" in (tmp_path / "second" / "0.log").read_text()
    assert metadata(run)["status"] == "finished"
    assert requeued.read_text() == f"requeue {job}_3\n"
    assert difference(weights(run), weights(undisturbed())) < 1e-9


def test_the_kubernetes_job_restarts_all_pods_when_one_is_evicted(
    tmp_path: Path, undisturbed: Callable[[], Path]
) -> None:
    service, job = yaml.safe_load_all((LAUNCH / "kubernetes.yaml").read_text())
    name, spec = job["metadata"]["name"], job["spec"]
    pod = spec["template"]["spec"]
    # Kubernetes builds the pod's network name from these: JOB-INDEX.SERVICE.
    assert spec["completionMode"] == "Indexed"
    assert service["metadata"]["name"] == pod["subdomain"]
    assert service["spec"]["clusterIP"] == "None"
    assert service["spec"]["selector"] == {"job-name": name}
    (container,) = pod["containers"]
    claims = {volume["name"]: volume for volume in pod["volumes"]}
    (mount,) = (
        mount["mountPath"] for mount in container["volumeMounts"] if "persistentVolumeClaim" in claims[mount["name"]]
    )
    here = {
        f"{name}-0.{pod['subdomain']}": "127.0.0.1",
        "29500": str(free_ports(1)[0]),
        f"--out={mount}": f"--out={tmp_path}",
        "--kimg=1000": "",
    }
    pods = []
    for index in range(spec["completions"]):
        text = "\n".join([*container["command"], *container["args"]]).replace("$(JOB_COMPLETION_INDEX)", str(index))
        for theirs, ours in here.items():
            assert theirs in text
            text = text.replace(theirs, ours)
        pods.append([*text.split(), *LONG])
    run = tmp_path / "dcgan"

    forks = f"{forked.stand_ins()}:{PATH}"
    with started(tmp_path / "first", *pods, PATH=forks) as processes:
        wait_until_training(run, processes)
        processes[1].terminate()
        codes = finished(processes)
    # A pod that exits with code 0 is complete and never restarted.
    assert 0 not in codes
    assert metadata(run)["status"] == "interrupted"

    with started(tmp_path / "second", *pods, PATH=forks) as processes:
        assert finished(processes) == [0, 0]
    assert metadata(run)["status"] == "finished"
    assert difference(weights(run), weights(undisturbed())) < 1e-9
