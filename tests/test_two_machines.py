"""Two machines: two network namespaces, each with its own address, joined by a virtual cable.

A launcher in each starts one process; they share the file system, like the machines of a cluster. Their host names do
not resolve, so they need the settings that launch/README.md gives for such machines.
"""

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.conftest import difference, weights
from tests.launchers import GAME, finished, metadata, on_machine, several_machines, started

ADDRESSES = ("10.77.0.1", "10.77.0.2")


def ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True)


@pytest.fixture
def namespaces() -> Iterator[list[str]]:
    """The names of two network namespaces whose eth0 are the ends of one virtual cable."""
    if shutil.which("ip") is None or os.geteuid() != 0:
        pytest.skip("needs root and the command ip to create network namespaces")
    names = [f"gan-core-{os.getpid()}-{machine}" for machine in (0, 1)]
    try:
        for name in names:
            ip("netns", "add", name)
        ip("link", "add", "eth0", "netns", names[0], "type", "veth", "peer", "name", "eth0", "netns", names[1])
        for name, address in zip(names, ADDRESSES, strict=True):
            ip("-n", name, "address", "add", f"{address}/24", "dev", "eth0")
            ip("-n", name, "link", "set", "lo", "up")
            ip("-n", name, "link", "set", "eth0", "up")
        yield names
    finally:
        for name in names:  # Also deletes its end of the cable.
            subprocess.run(["ip", "netns", "delete", name], check=False, capture_output=True)


def commands(kind: str, namespaces: list[str], *flags: object, timeouts: str | None = None) -> list[list[str]]:
    """Returns the README's command for each machine, with the settings of that machine."""
    typed = []
    for machine, (name, address) in enumerate(zip(namespaces, ADDRESSES, strict=True)):
        settings, rendezvous = ["GLOO_SOCKET_IFNAME=eth0"], [timeouts] if timeouts else []
        if kind.endswith("c10d"):
            settings.append(f"PET_LOCAL_ADDR={address}")
            rendezvous += ["is_host=1"] if machine == 0 else []
        words = on_machine(several_machines(kind), machine, *flags, address=ADDRESSES[0])
        if rendezvous:
            at = words.index("-m")
            words[at:at] = ["--rdzv_conf", ",".join(rendezvous)]
        typed.append(["ip", "netns", "exec", name, "env", *settings, *words])
    return typed


@pytest.mark.parametrize("kind", ["accelerate-static", pytest.param("accelerate-c10d", marks=pytest.mark.slow)])
def test_two_machines_equal_one_process(
    kind: str, namespaces: list[str], train: Callable[..., str], tmp_path: Path
) -> None:
    flags = (*GAME, "--steps", 20, "--out", tmp_path / "two")
    with started(tmp_path, *commands(kind, namespaces, *flags)) as machines:
        assert finished(machines) == [0, 0]
    assert "2 processes on" in "".join((tmp_path / f"{machine}.log").read_text() for machine in (0, 1))
    assert metadata(tmp_path / "two")["processes"] == 2
    settings = (word for word in GAME if "=" in word)
    train(*settings, variant="dcgan", batch=16, precision="fp64", steps=20, out=tmp_path / "one")
    assert difference(weights(tmp_path / "one"), weights(tmp_path / "two")) < 1e-9


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "timeouts"), [("accelerate-static", "timeout=5"), ("accelerate-c10d", "join_timeout=5,read_timeout=5")]
)
def test_machines_that_cannot_connect_do_not_train_separately(
    kind: str, timeouts: str, namespaces: list[str], tmp_path: Path
) -> None:
    ip("-n", namespaces[0], "link", "set", "eth0", "down")
    flags = (*GAME, "--steps", 20, "--out", tmp_path / "run")
    with started(tmp_path, *commands(kind, namespaces, *flags, timeouts=timeouts)) as machines:
        assert 0 not in finished(machines)
    assert not (tmp_path / "run").exists()
