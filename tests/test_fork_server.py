"""The server of forked commands: what it runs is what a real `python -m` runs, to the bit and to the letter."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests import forked, fresh
from tests.conftest import ROOT
from tests.test_plugin_loading import install

TRAIN = ("gan_core", "train", "--variant", "dcgan", "--set", "width=8", "--batch", "32", "--steps", "4")
FACTS = """
import json, os, signal, sys, warnings
import torch._dynamo, sklearn.datasets
from threadpoolctl import threadpool_info
print(json.dumps({
    "argv": sys.argv, "name": __name__, "spec": __spec__.name, "folder": os.getcwd(), "environment": dict(os.environ),
    "path": sys.path, "options": sys.warnoptions, "torch threads": torch.get_num_threads(),
    "blas threads": [info["num_threads"] for info in threadpool_info() if info["internal_api"] == "openblas"],
    "main": sys.modules["__main__"].__file__,
    "files": [(f.isatty(), f.encoding, f.errors) for f in (sys.stdin, sys.stdout, sys.stderr)],
    "buffers": [(f.line_buffering, f.write_through) for f in (sys.stdout, sys.stderr)],
    "signals": [str(signal.getsignal(number)) for number in sorted(signal.valid_signals())],
}))
warnings.warn("heard", ResourceWarning)
"""
LEAVES = """
import atexit, os, signal, sys, threading, time
print("printed, and not flushed")
atexit.register(print, "the last words")
threading.Thread(target=lambda: (time.sleep(0.2), print("the thread is waited for"))).start()
"""


@pytest.fixture(scope="module", autouse=True)
def _only_where_there_is_one() -> None:
    if sys.platform != "linux":
        pytest.skip("commands are forked on Linux only")


def environment_of(**changes: str) -> dict[str, str]:
    """Returns this process's, changed; an empty value takes a variable away."""
    return {name: value for name, value in (os.environ | changes).items() if value}


def fork(*words: object, folder: Path = ROOT, timeout: float = 60, processes: int | None = None, **changes: str) -> Any:
    environment = environment_of(**changes)
    assert forked.suits(environment)
    module = [str(word) for word in words]
    return forked.run(module, folder=folder, environment=environment, processes=processes, timeout=timeout)


def real(*words: object, folder: Path = ROOT, **changes: str) -> subprocess.CompletedProcess[str]:
    line = [forked.PYTHON, "-m", *map(str, words)]
    environment = environment_of(**changes)
    return subprocess.run(line, cwd=folder, env=environment, capture_output=True, text=True, check=False, timeout=120)


def digests(run: Path) -> dict[str, str]:
    return {path.name: sha256(path.read_bytes()).hexdigest() for path in run.glob("checkpoints/*/*.safetensors")}


def test_a_forked_run_is_a_real_one_to_the_bit_and_to_the_letter(tmp_path: Path) -> None:
    printed, written = [], []
    for kind in (fork, real):
        folder = tmp_path / kind.__name__
        folder.mkdir()
        done = kind(*TRAIN, "--out", "run", folder=folder, PYTHONWARNINGS="default")
        assert (done.returncode, done.stderr) == (0, "")
        printed.append(re.sub(r"[\d,]+ img/s|\d:\d\d:\d\d|\d\.\d GiB", "", done.stdout))
        written.append(digests(folder / "run"))
    assert len(written[0]) == 3
    assert written[0] == written[1]
    assert printed[0] == printed[1]


@pytest.mark.parametrize("words", [("train", "--variant", "dcgn"), ("train", "--nonsense"), ("--help",)])
def test_errors_and_help_are_the_same(words: tuple[str, ...]) -> None:
    one, other = (kind("gan_core", *words, COLUMNS="120") for kind in (fork, real))
    assert one.stdout + one.stderr
    assert (one.returncode, one.stdout, one.stderr) == (other.returncode, other.stdout, other.stderr)


@pytest.mark.parametrize(("threads", "options"), [("", "error::ImportWarning,default"), ("1", "")])
def test_a_forked_process_finds_what_a_fresh_one_finds(tmp_path: Path, threads: str, options: str) -> None:
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "facts.py").write_text(FACTS)
    (tmp_path / "here").mkdir()
    changes = {"PYTHONPATH": f"{tmp_path}/site{os.pathsep}{tmp_path}/none", "ONLY": "here", "HOME": str(tmp_path)}
    changes |= {"OMP_NUM_THREADS": threads, "PYTHONWARNINGS": options}
    one, other = (kind("facts", "a", "b c", folder=tmp_path / "here", **changes) for kind in (fork, real))
    assert other.returncode == 0, other.stderr
    found, expected = json.loads(one.stdout), json.loads(other.stdout)
    assert found == expected
    assert found["path"][:3] == [str(tmp_path / "here"), str(tmp_path / "site"), str(tmp_path / "none")]
    assert ("heard" in other.stderr) == bool(options)
    assert one.stderr == other.stderr


def test_a_plugin_is_found_on_the_path_that_a_command_is_given_and_by_no_other(tmp_path: Path) -> None:
    install(tmp_path, distribution="strange-gan", name="strange")
    with_it, without = (fork("gan_core", "list", "--json", PYTHONPATH=path).stdout for path in (str(tmp_path), ""))
    assert "strange-gan" in with_it
    assert "strange-gan" not in without


@pytest.mark.parametrize(
    "end",
    [
        *("sys.exit()", "sys.exit(3)", "sys.exit('why')", "1 / 0", "raise KeyboardInterrupt", "os._exit(4)"),
        *("os.kill(os.getpid(), signal.SIGKILL)", "os.kill(os.getpid(), signal.SIGTERM)", "pass"),
        "sys.stdout = open('/dev/full', 'w')",
    ],
)
def test_a_process_ends_as_a_real_one(end: str, tmp_path: Path) -> None:
    (tmp_path / "leaves.py").write_text(f"{LEAVES}\n{end}\n")
    one, other = (kind("leaves", folder=tmp_path) for kind in (fork, real))
    assert (one.returncode, one.stdout) == (other.returncode, other.stdout)
    # What stands above this module in a traceback is Python's own, or the server's.
    assert one.stderr.rpartition("leaves.py")[2] == other.stderr.rpartition("leaves.py")[2]


def test_what_a_test_s_own_process_imports_keeps_no_command_from_being_forked() -> None:
    loaded = dict(forked.server().environment)
    import sklearn.datasets  # noqa: F401
    import wandb  # noqa: F401
    from accelerate import Accelerator

    Accelerator(cpu=True)
    assert fresh.can_have(dict(os.environ), loaded)
    before = {name: value for name, value in loaded.items() if not name.startswith("KMP_")}
    assert fresh.can_have(dict(os.environ), before)  # As of a server that began before these imports.


def test_no_two_processes_draw_the_same_by_chance(tmp_path: Path) -> None:
    (tmp_path / "draws.py").write_text(
        "import random, numpy, torch; print(random.random(), numpy.random.rand(), torch.initial_seed())"
    )
    first, second = (fork("draws", folder=tmp_path).stdout.split() for _ in range(2))
    assert len({*first, *second}) == 6


def test_ranks_are_told_what_torchrun_tells_them_and_fail_together(tmp_path: Path) -> None:
    names = ("LOCAL_RANK", "LOCAL_WORLD_SIZE", "OMP_NUM_THREADS", "RANK", "WORLD_SIZE")
    code = f"import os, sys; sys.stdout.write(' '.join(os.environ[name] for name in {names}) + '\\n')\n"
    (tmp_path / "rank.py").write_text(code + "sys.exit(3 if os.environ['RANK'] == sys.argv[1] else 0)")
    torchrun = ("torch.distributed.run", "--nproc_per_node", 2, "-m", "rank")
    for failing in ("none", "1"):
        done, launched = fork("rank", failing, folder=tmp_path, processes=2), real(*torchrun, failing, folder=tmp_path)
        lines = [sorted(text.splitlines()) for text in (done.stdout, launched.stdout)]
        assert lines[0] == lines[1] == ["0 2 1 0 2", "1 2 1 1 2"]
        assert done.returncode == launched.returncode == int(failing == "1")


def test_after_the_timeout_nothing_is_left(tmp_path: Path) -> None:
    code = "import os, subprocess, time; print(os.getpid(), subprocess.Popen(['sleep', '60']).pid, flush=True)\n"
    (tmp_path / "sleeps.py").write_text(code + "time.sleep(60)")
    with pytest.raises(subprocess.TimeoutExpired) as error:
        fork("sleeps", folder=tmp_path, timeout=2)
    numbers = [int(word) for word in str(error.value.output).split()]
    assert len(numbers) == 2
    assert not any(map(runs, numbers))
    assert fork("gan_core", "list").returncode == 0  # The server goes on.


def test_an_environment_that_must_be_there_from_the_start_is_not_for_forks() -> None:
    assert forked.suits(environment_of(OMP_NUM_THREADS="7", ANYTHING="else", PYTHONPATH="/nowhere"))
    for name in ("MKL_NUM_THREADS", "PYTHONHASHSEED", "TMPDIR", "CUDA_VISIBLE_DEVICES"):
        assert not forked.suits(environment_of(**{name: "0"}))


def test_it_has_one_thread_and_imports_without_a_warning() -> None:
    assert fork("gan_core", "list").returncode == 0
    assert forked.server().said == ""
    assert psutil.Process(forked.server().number).num_threads() == 1


ASKS = """
import os, sys
from pathlib import Path
from tests import forked, fresh
server = forked.ForkServer()
print(server.number, flush=True)
server.start(["sleeps"], Path(sys.argv[1]), [dict(os.environ)]).wait(60)
"""


def test_when_whoever_asked_is_killed_it_ends_with_all_that_it_runs(tmp_path: Path) -> None:
    code = "import os, sys, time; open('number', 'w').write(str(os.getpid())); os.rename('number', 'there')\n"
    (tmp_path / "sleeps.py").write_text(f"{code}time.sleep(60)")
    asks = subprocess.Popen([forked.PYTHON, "-c", ASKS, tmp_path], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert asks.stdout is not None
    server = int(asks.stdout.readline())
    until(lambda: (tmp_path / "there").exists())
    os.kill(server, signal.SIGTERM)  # As Ctrl-C or a timeout, which reach all of a process group.
    asks.kill()
    asks.communicate()
    for number in (server, int((tmp_path / "there").read_text())):
        until(lambda number=number: not runs(number))  # type: ignore[misc]


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 120
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def runs(number: int) -> bool:
    try:
        return psutil.Process(number).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


ENDLESS = ("-m", "gan_core", "train", "--variant", "vanilla", "--set", "log_every=1", "--kimg", "1e6")


def test_stand_ins_run_launchers_with_the_exit_codes_and_pass_signals_on(tmp_path: Path) -> None:
    torchrun = [str(forked.stand_ins() / "torchrun"), "--nproc_per_node", "2", "-m", "gan_core", "nonsense"]
    done = subprocess.run(torchrun, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 1
    assert "No such command 'nonsense'" in done.stderr
    process = subprocess.Popen(
        [forked.stand_ins() / "python", *ENDLESS, "--out", tmp_path / "run"], stdout=subprocess.PIPE, text=True
    )
    until(lambda: (tmp_path / "run" / "metrics.jsonl").exists())
    process.send_signal(signal.SIGTERM)
    output, _ = process.communicate(timeout=60)
    assert "saved. Run the same command to resume" in output
    assert process.returncode == 75


def test_when_a_stand_in_is_killed_what_it_stands_for_is_killed(tmp_path: Path) -> None:
    process = subprocess.Popen(
        [forked.stand_ins() / "python", *ENDLESS, "--out", tmp_path / "run"], stdout=subprocess.DEVNULL
    )
    until(lambda: (tmp_path / "run" / "metrics.jsonl").exists())
    trains = json.loads((tmp_path / "run" / "run.json").read_text())["process"]["pid"]
    assert runs(trains)
    process.kill()
    process.wait()
    until(lambda: not runs(trains))
