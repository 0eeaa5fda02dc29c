"""Machines that other programs use too: how threads wait, and the warning when training becomes slow."""

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from gan_core.distributed.waiting import CpuTimes, used_by_others, wait_passively
from gan_core.observers.alarms.slowdown import Slowdown
from tests import forked
from tests.conftest import ROOT


@pytest.mark.parametrize(
    ("seconds", "used", "ours", "others"),
    [
        (1.0, 1.0, 1.0, 0.0),  # Only this process has worked.
        (1.0, 2.5, 1.0, 1.5),
        (0.5, 1.0, 0.5, 1.0),
        (0.5, 0.29, 0.30, 0.0),  # The system rounds to hundredths.
        (0.1, 0.2, 0.0, 0.0),  # Too short to say.
    ],
)
def test_the_cores_that_others_use(seconds: float, used: float, ours: float, others: float) -> None:
    before = CpuTimes(at=10.0, all=100.0, ours=3.0)
    now = CpuTimes(at=10.0 + seconds, all=100.0 + used, ours=3.0 + ours)
    assert used_by_others(before, now) == pytest.approx(others)


FOUR = 4
"""The number of cores in these tests."""


@pytest.mark.parametrize(
    ("threads", "used", "environment", "passive"),
    [
        (None, 0.0, {}, False),
        (None, 0.4, {}, False),
        (None, 0.6, {}, True),
        (None, 4.0, {}, True),
        (2, 2.0, {}, False),  # Two cores are left for two threads.
        (2, 3.0, {}, True),
        (1, 4.0, {}, False),  # No thread waits for another.
        (None, 4.0, {"LOCAL_WORLD_SIZE": "4"}, False),  # One thread each.
        (None, 1.0, {"LOCAL_WORLD_SIZE": "2"}, True),  # Two each.
        (None, 4.0, {"OMP_WAIT_POLICY": "active"}, False),
        (None, 4.0, {"GOMP_SPINCOUNT": "1000"}, False),
        (None, 4.0, {"KMP_BLOCKTIME": "200"}, False),
        (None, 4.0, {"KMP_BLOCKTIME": "1"}, True),  # Set by `accelerate launch --cpu`.
    ],
)
def test_threads_wait_passively_only_where_others_need_their_cores(
    threads: int | None, used: float, environment: dict[str, str], passive: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in ("gan_core.cores", "gan_core.distributed.waiting"):
        monkeypatch.setattr(f"{module}.usable_cores", lambda: FOUR)
    after = dict(environment)
    assert wait_passively(threads, used, after) is passive
    assert after == (environment | {"OMP_WAIT_POLICY": "PASSIVE"} if passive else environment)


ON_ALL_CORES = """
import os, runpy
if hasattr(os, "sched_setaffinity"):  # Tests that run at the same time have some of the cores each.
    os.sched_setaffinity(0, range(os.cpu_count()))
runpy.run_module("gan_core", run_name="__main__", alter_sys=True)
"""


@pytest.mark.skipif((os.cpu_count() or 1) < 2, reason="needs two cores")
@pytest.mark.parametrize(("chosen", "passive"), [(None, True), pytest.param("active", False, marks=pytest.mark.slow)])
def test_beside_busy_programs_threads_wait_passively_unless_the_user_has_chosen(
    chosen: str | None, passive: bool, tmp_path: Path
) -> None:
    environment = {name: value for name, value in os.environ.items() if name != "OMP_WAIT_POLICY"}
    environment |= {} if chosen is None else {"OMP_WAIT_POLICY": chosen}
    words = [forked.PYTHON, "-c", ON_ALL_CORES, "train", "--variant", "no-such", "--out", str(tmp_path / "run")]
    busy = [subprocess.Popen([forked.PYTHON, "-c", "while True: pass"]) for _ in range(2 * (os.cpu_count() or 1))]
    try:
        done = subprocess.run(
            words, cwd=ROOT, env=environment, capture_output=True, text=True, check=False, timeout=120
        )
    finally:
        for process in busy:
            process.kill()
            process.wait()
    assert "no variant named 'no-such' is installed" in done.stderr
    assert ("threads wait passively: other programs use" in done.stderr) is passive


@pytest.fixture
def rates() -> Callable[..., list[str]]:
    """Logs rates, one per 1,000 images, and returns the alarms."""
    watch = Slowdown(0)
    seen = 0

    def log(*images_per_second: float, images: int = 1000) -> list[str]:
        nonlocal seen
        alarms = []
        for rate in images_per_second:
            seen += images
            alarms.append(watch.log({"images_seen": seen, "images_per_second": rate}))
        return [alarm.text for alarm in alarms if alarm is not None]

    return log


def test_a_collapse_of_the_rate_is_one_warning_until_it_recovers(rates: Callable[..., list[str]]) -> None:
    assert rates(900, 5000, 5200, 4800, 5000, 5100) == []
    (warning,) = rates(13, 14, 12, 2000, 13)  # 2,000 is no recovery: the usual rate is 5,000.
    assert warning.startswith(
        "slow since 6 kimg: 13 images/s after 5,000 before. Other programs may need the same cores. Try: stop them; or "
    )
    assert "--threads 1" in warning
    assert "OMP_WAIT_POLICY=passive" in warning
    assert rates(4000, 5000) == []
    assert len(rates(20)) == 1


def test_what_is_no_collapse(rates: Callable[..., list[str]]) -> None:
    assert rates(5000, 10) == []  # Too early to say what is usual.
    assert rates(5000, 4900, 5100, 5000, 1300, 2000) == []  # Not below a quarter.
    assert rates(10, 5000, 10, 5000, images=16) == []  # Not for 5 seconds.
    assert len(rates(10, 10, 10, 10, images=16)) == 1
