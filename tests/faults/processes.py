"""Faults of processes: kills, signals, second starts, and files that are lost while the run trains."""

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable

import psutil

from tests import forked
from tests.faults.documents import JUNK
from tests.faults.scene import LIMIT, STEPS, Scene, begin, do, hung_up, launch, one_error, remove, wait_until
from tests.launchers import ranks

Running = forked.Process | subprocess.Popen[bytes]


def _fresh(scene: Scene) -> None:
    """Half of the runs are disturbed from their beginning on."""
    if scene.chance.random() < 0.5:
        shutil.rmtree(scene.run)


def _at_a_moment(scene: Scene, process: Running) -> bool:
    """Waits for a random moment of the training; returns False if the run has ended before."""
    log, folder = scene.run / "metrics.jsonl", scene.run

    def logged() -> int:
        return log.read_bytes().count(b"\n") if log.exists() else 0

    before = logged()
    first = scene.chance.randrange(1, max(2, STEPS - before - 6))
    moments: dict[str, Callable[[], bool]] = {
        "line": lambda: True,
        "checkpoint": lambda: any(folder.glob("checkpoints/.*.new")),
        "sample": lambda: any(folder.glob("samples/.*.new")),
        "metadata": lambda: any(folder.glob(".run.json.*.new")),
    }
    if not wait_until(lambda: logged() not in range(before, before + first), process):
        return False
    until, moment = time.monotonic() + 0.3, moments[scene.chance.choice(sorted(moments))]
    wait_until(lambda: moment() or time.monotonic() > until, process)
    time.sleep(scene.chance.choice([0.0, scene.chance.uniform(0, 0.01)]))
    return process.poll() is None


def _disturb(scene: Scene, act: Callable[[forked.Process], object], processes: int | None = None) -> forked.Process:
    """Trains, and acts at a random moment; once more from the beginning where the run has ended before."""
    for _ in range(9):
        process = begin(scene.words, processes)
        if _at_a_moment(scene, process):
            act(process)
            return process
        process.communicate()
        shutil.rmtree(scene.run)
    raise TimeoutError("the run has always ended before its fault")


def _signalled(scene: Scene, number: int, *codes: int) -> None:
    _fresh(scene)
    process = _disturb(scene, lambda process: process.send_signal(number), scene.processes)
    out, errors = process.communicate(timeout=LIMIT)
    assert process.returncode in codes, f"exit code {process.returncode}: {errors}"
    assert "Traceback" not in out + errors


def killed(scene: Scene) -> None:
    _signalled(scene, signal.SIGKILL, -signal.SIGKILL, 1)


def terminated(scene: Scene) -> None:
    _signalled(scene, signal.SIGTERM, 75, 0, 1)


def interrupted(scene: Scene) -> None:
    _signalled(scene, signal.SIGINT, 75, 0, 1)


def warned(scene: Scene) -> None:
    _signalled(scene, signal.SIGUSR1, 75, 0, 1)


def killed_while_it_starts(scene: Scene) -> None:
    _fresh(scene)
    for _ in range(3):
        process = begin(scene.words, scene.processes)
        time.sleep(scene.chance.uniform(0, 0.8))
        process.kill()
        process.communicate()


def killed_again_and_again(scene: Scene) -> None:
    _fresh(scene)
    for _ in range(3):
        process = begin(scene.words, scene.processes)
        if _at_a_moment(scene, process):
            process.kill()
        process.communicate()


def killed_and_damaged(scene: Scene) -> None:
    """The newest checkpoint is damaged as well."""
    process = _disturb(scene, lambda process: process.kill())
    process.communicate()
    found = sorted(path for path in scene.run.glob("checkpoints/0*") if (path / "manifest.json").exists())
    if len(found) > 1:
        os.truncate(found[-1] / "generator.safetensors", 100)


def second_start(scene: Scene) -> None:
    _fresh(scene)
    process = _disturb(scene, lambda process: process.send_signal(signal.SIGSTOP))
    second = do(scene.words)
    process.send_signal(signal.SIGCONT)
    assert "is in use: process" in one_error(second.returncode, second.stdout + second.stderr)
    third = do(scene.words)  # Beside one that trains on, or that has finished.
    if third.returncode:
        one_error(third.returncode, third.stdout + third.stderr)
    process.communicate(timeout=LIMIT)
    assert process.returncode == 0


def launcher_killed(scene: Scene) -> None:
    """Only the launcher: its processes notice that, save and stop, while the same command starts beside them."""
    _launched(scene, lambda launcher, _: launcher.kill())


def rank_killed(scene: Scene) -> None:
    _launched(scene, lambda _, workers: scene.chance.choice(workers).kill())


def launcher_and_rank_killed(scene: Scene) -> None:
    def both(launcher: subprocess.Popen[bytes], workers: list[psutil.Process]) -> None:
        launcher.kill()
        scene.chance.choice(workers).kill()

    _launched(scene, both)


def launcher_terminated(scene: Scene) -> None:
    _launched(scene, lambda launcher, _: launcher.terminate())


def _launched(scene: Scene, act: Callable[[subprocess.Popen[bytes], list[psutil.Process]], object]) -> None:
    log = scene.run.with_name("launcher.log")
    for _ in range(9):
        launcher = launch(scene.words, scene.processes or 1, log)
        workers: list[psutil.Process] = []
        try:
            if _at_a_moment(scene, launcher) and (workers := _workers(launcher)):
                act(launcher, workers)
                beside = do(scene.words, scene.processes)
                if beside.returncode:
                    assert "is in use: process" in one_error(beside.returncode, beside.stdout + beside.stderr)
                _, alive = psutil.wait_procs(workers, 60)
                assert not alive, "processes went on without their launcher"
                launcher.wait(60)
                return
        finally:
            hung_up(launcher)
            for worker in workers:
                worker.kill() if worker.is_running() else None
            psutil.wait_procs(workers, 60)
        shutil.rmtree(scene.run)
    raise TimeoutError("the run has always ended before its fault")


def _workers(launcher: subprocess.Popen[bytes]) -> list[psutil.Process]:
    found = list(ranks(launcher).values())
    return found or psutil.Process(launcher.pid).children()


def rank_stopped(scene: Scene) -> None:
    """A process that hangs: the other one names it; then it is killed."""
    words = [*scene.words, "--set", "deadline=3"]
    for _ in range(9):
        process = begin(words, 2)
        if _at_a_moment(scene, process):
            members = [psutil.Process(number) for number in _group(process.pid)]
            stopped = scene.chance.choice(members)
            stopped.suspend()
            others = [member for member in members if member != stopped]
            gone, alive = psutil.wait_procs(others, 60)
            stopped.kill()
            _, errors = process.communicate(timeout=LIMIT)
            assert gone, f"{alive} waits for a process that hangs"
            assert "of 2 ended or did not answer within" in one_error(1, errors)
            return
        process.communicate()
        shutil.rmtree(scene.run)
    raise TimeoutError("the run has always ended before its fault")


def _group(number: int) -> list[int]:
    return [member.pid for member in psutil.process_iter() if member.pid and os.getpgid(member.pid) == number]


def removed_while_it_trains(scene: Scene) -> None:
    """The folder is moved away meanwhile, and comes back."""
    away = scene.run.with_name("away")
    process = _disturb(scene, lambda process: scene.run.rename(away))
    out, errors = process.communicate(timeout=LIMIT)
    if process.returncode:
        one_error(process.returncode, out + errors)
    remove(scene.run)
    away.rename(scene.run)


def junk_while_it_trains(scene: Scene) -> None:
    whole = b""

    def spoil(process: forked.Process) -> None:
        nonlocal whole
        whole = (scene.run / "run.json").read_bytes()
        (scene.run / "run.json").write_bytes(scene.chance.choice(JUNK))

    process = _disturb(scene, spoil)
    out, errors = process.communicate(timeout=LIMIT)
    if process.returncode:
        assert "run.json" in one_error(process.returncode, out + errors)
        done = do(scene.words)
        assert "run.json" in one_error(done.returncode, done.stdout + done.stderr)
        (scene.run / "run.json").write_bytes(whole)


def newest_lost_while_it_trains(scene: Scene) -> None:
    """A file of the newest checkpoint is cut while the run goes on, which is killed then."""

    def spoil(process: forked.Process) -> None:
        process.send_signal(signal.SIGSTOP)
        found = sorted(path for path in scene.run.glob("checkpoints/0*") if (path / "manifest.json").exists())
        if len(found) > 1:
            os.truncate(found[-1] / "generator.safetensors", 100)
        process.send_signal(signal.SIGCONT)

    _disturb(scene, spoil).communicate(timeout=LIMIT)
