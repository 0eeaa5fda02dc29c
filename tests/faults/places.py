"""Faults of the place where a run lies: moved, copied, read-only, full, with other files, locks and times."""

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.faults.scene import STEPS, Scene, remove, train


def lock_left_behind(scene: Scene) -> None:
    junk = ["", "x" * 5000, "[" * 999, "\x1b[2J", json.dumps({"host": "\x1b[2J", "pid": 1, "started": 10**400})]
    living = json.dumps({"host": os.uname().nodename, "pid": os.getpid(), "started": 0})
    (scene.run / ".lock").write_text(scene.chance.choice([*junk, living]))


def lock_is_no_file(scene: Scene) -> None:
    lock = scene.run / ".lock"
    remove(lock)
    if scene.chance.random() < 0.5:
        lock.mkdir()
    else:
        lock.symlink_to(scene.chance.choice([".lock", "metrics.jsonl"]))


def other_times(scene: Scene) -> None:
    """As after a restored backup, or with a clock that was wrong."""
    for path in sorted(scene.run.rglob("*")):
        when = scene.chance.choice([0, -1_000_000, 4_000_000_000, 15_000_000_000, 1])
        os.utime(path, (when, when))


def left_temporary_files(scene: Scene) -> None:
    for name in ("run.json", "config.yaml", "metrics.jsonl", "samples/000000128.png"):
        path = scene.run / name
        path.with_name(f".{path.name}.0123abcd.new").write_bytes(b"half")


def other_files(scene: Scene) -> None:
    """What people and their tools leave in a folder."""
    (scene.run / "notes.txt").write_text("keep")
    (scene.run / "samples" / "thumbnails").mkdir()
    (scene.run / "samples" / "thumbnails" / "x.png").write_bytes(b"x")
    (scene.run / "checkpoints" / "best").mkdir()
    (scene.run / "checkpoints" / "000000064.bak").write_bytes(b"x")
    (scene.run / "checkpoints" / ".DS_Store").write_bytes(b"x")


def file_for_samples(scene: Scene) -> None:
    remove(scene.run / "samples")
    (scene.run / "samples").write_bytes(b"x")


def moved(scene: Scene) -> None:
    """The command names the config file where it is now."""
    to = scene.run.with_name("moved") / "run"
    to.parent.mkdir()
    scene.run.rename(to)
    scene.run, scene.words = to, ["train", "--config", str(to / "config.yaml"), "--steps", str(STEPS)]


def copied(scene: Scene) -> None:
    """The copy is continued; the original must stay as it is."""
    to = scene.run.with_name("copy")
    shutil.copytree(scene.run, to)
    scene.beside.append(scene.run)
    scene.run, scene.words = to, ["train", "--config", str(to / "config.yaml"), "--steps", str(STEPS)]


def moved_away(scene: Scene) -> None:
    """The same command begins a new run; the one that was moved must stay as it is."""
    to = scene.run.with_name("away")
    scene.run.rename(to)
    scene.beside.append(to)


def out_of_another_variant(scene: Scene) -> None:
    """The folder of another run in the place of this one."""
    shutil.rmtree(scene.run)
    shutil.copytree(scene.other(), scene.run)


def read_only(scene: Scene) -> None:
    """Root ignores permissions, so the run lies on a disk that is mounted read-only."""
    disk = mount(scene, "64m")
    subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
    scene.undo.append(lambda: subprocess.run(["mount", "-o", "remount,rw", str(disk)], check=True))


def full_disk(scene: Scene) -> None:
    disk = mount(scene, "64m")
    with (disk / "other").open("wb") as file:
        free = shutil.disk_usage(disk).free - scene.chance.choice([0, 5000, 60_000, 300_000])
        file.write(bytes(free))
    scene.undo.append((disk / "other").unlink)


def mount(scene: Scene, size: str) -> Path:
    """Moves the run to a disk of its own."""
    disk = scene.run.with_name("disk")
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(disk)], check=False).returncode:
        pytest.skip("a tmpfs cannot be mounted here")
    scene.leave.append(lambda: subprocess.run(["umount", "--lazy", str(disk)], check=True))
    shutil.move(scene.run, disk / "run")
    scene.run = disk / "run"
    scene.words = train(scene.variant, scene.run)
    return disk


def immutable(scene: Scene) -> None:
    """A file or folder that not even root can change."""
    names = ["run.json", "config.yaml", "metrics.jsonl", "checkpoints", "samples", ".lock", ".", str(scene.newest)]
    path = scene.run / scene.chance.choice(names)
    done = subprocess.run(["chattr", "+i", str(path)], check=False, capture_output=True)
    if done.returncode:
        pytest.skip(f"needs chattr +i: {done.stderr!r}")
    scene.undo.append(lambda: subprocess.run(["chattr", "-i", str(path)], check=True))
