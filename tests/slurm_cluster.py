"""A real SLURM for tests: a controller and two nodes on this machine, without accounting.

The nodes are two slurmd on different ports. Their names do not resolve, as on clusters where a node's name in SLURM is
not its hostname; their address is that of the loopback interface.
"""

import getpass
import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import psutil

from gan_core.testing.ports import free_ports
from tests.conftest import ROOT
from tests.launchers import PATH

PROGRAMS = ("munged", "sbatch", "scancel", "scontrol", "slurmctld", "slurmd", "srun")
SEARCHED = f"{PATH}:/usr/sbin"
"""The daemons are in /usr/sbin, which is not in everybody's PATH."""
LIMIT = 300
"""Seconds after which a daemon or a job counts as hanging."""
CONFIGURATION = """\
ClusterName=tests
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ports[0]}
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/%n.pid
SlurmdSpoolDir={folder}/%n
StateSaveLocation={folder}/state
SlurmUser={user}
SlurmdUser={user}
# A requeued job starts when the credential of its last start has expired, by default after two minutes.
AuthInfo=socket={folder}/munge.socket,cred_expire=10
MailProg=/bin/true
MpiDefault=none
# Signals reach all descendants of a task, as with the cgroups of a cluster.
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SchedulerType=sched/builtin
SchedulerParameters=sched_interval=2
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
# The training's port follows from the number of the job.
FirstJobId={first}
# More CPUs than the machine may have.
SlurmdParameters=config_overrides
NodeName=gan1 NodeHostname={host} NodeAddr=127.0.0.1 Port={ports[1]} CPUs=2
NodeName=gan2 NodeHostname={host} NodeAddr=127.0.0.1 Port={ports[2]} CPUs=2
PartitionName=tests Nodes=ALL Default=YES
"""


def missing() -> list[str]:
    """Returns the programs that are not installed."""
    return [program for program in PROGRAMS if shutil.which(program, path=SEARCHED) is None]


class Cluster:
    """A running cluster. Its folder has the logs of daemons and jobs."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.environment = os.environ | {"SLURM_CONF": str(folder / "slurm.conf"), "PATH": SEARCHED, "COLUMNS": "120"}
        self.environment["GLOO_SOCKET_IFNAME"] = "lo"  # The name of this machine need not resolve.

    def call(self, *words: object) -> str:
        """Runs one of SLURM's commands in the checkout and returns what it printed."""
        line = [str(word) for word in words]
        done = subprocess.run(line, cwd=ROOT, env=self.environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{line}: {done.stdout}{done.stderr}"
        return done.stdout.strip()

    def job(self, number: str) -> dict[str, str]:
        """Returns what SLURM knows of a job, or of a task of an array ("ARRAY_TASK"): JobState, Restarts and so on."""
        fields = self.call("scontrol", "show", "job", number, "--oneliner").split()
        return dict(field.split("=", 1) for field in fields if "=" in field)

    def wait_until(self, condition: Callable[[], bool]) -> None:
        """Waits, and shows all logs if it takes too long."""
        deadline = time.monotonic() + LIMIT
        while not condition():
            assert time.monotonic() < deadline, self.logs()
            time.sleep(0.2)

    def logs(self) -> str:
        """Returns the last lines of every log."""
        texts = {file.name: file.read_text().splitlines()[-30:] for file in sorted(self.folder.glob("*.log"))}
        return "\n".join(f"--- {name}\n" + "\n".join(lines) for name, lines in texts.items())


@contextmanager
def cluster() -> Iterator[Cluster]:
    """Starts a cluster, and at the end kills its daemons and all that they made."""
    # The path of a socket must be short.
    with tempfile.TemporaryDirectory(prefix="slurm-") as name, ExitStack() as daemons:
        made = Cluster(Path(name))
        try:
            _configure(made.folder)
            files = [f"--{kind}-file={name}/munge.{kind}" for kind in ("key", "log", "pid", "seed")]
            # --force, because munge wants a folder that all users can enter.
            munge = ("munged", "--foreground", "--force", f"--socket={name}/munge.socket", *files)
            daemons.enter_context(_daemon(made, "munged", *munge))
            made.wait_until((made.folder / "munge.socket").is_socket)
            daemons.enter_context(_daemon(made, "slurmctld", "slurmctld", "-D"))
            for node in ("gan1", "gan2"):
                daemons.enter_context(_daemon(made, node, "slurmd", "-D", "-N", node))
            made.wait_until(lambda: _idle(made))
            yield made
        finally:
            while _kill(made.environment["SLURM_CONF"]):
                time.sleep(0.1)


def _configure(folder: Path) -> None:
    (folder / "munge.key").write_bytes(os.urandom(128))
    (folder / "munge.key").chmod(0o600)
    (folder / "state").mkdir()
    host, (first, *ports) = socket.gethostname().partition(".")[0], free_ports(4)
    (folder / "slurm.conf").write_text(
        CONFIGURATION.format(folder=folder, user=getpass.getuser(), host=host, ports=ports, first=first)
    )


def _daemon(made: Cluster, name: str, *words: str) -> subprocess.Popen[bytes]:
    with (made.folder / f"{name}.log").open("wb") as log:
        return subprocess.Popen(words, env=made.environment, stdout=log, stderr=subprocess.STDOUT)


def _idle(made: Cluster) -> bool:
    with suppress(AssertionError):  # Until the controller answers.
        return made.call("sinfo", "--noheader", "--format=%D %T") == "2 idle"
    return False


def _kill(configuration: str) -> int:
    """Kills every process that has this configuration in its environment, and returns how many there were."""
    found = 0
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            if process.environ().get("SLURM_CONF") == configuration:
                process.kill()
                found += 1
    return found
