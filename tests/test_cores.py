"""Processes of one machine keep to their own cores."""

import os
import subprocess
import sys

import pytest

KEPT = """
import os
from gan_core.cores import keep_to_own_cores, usable_cores, use_all_cores
before = os.sched_getaffinity(0)
keep_to_own_cores(THREADS)
print(sorted(os.sched_getaffinity(0)), usable_cores() == len(before))
use_all_cores()
assert os.sched_getaffinity(0) == before
"""


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity") or (os.cpu_count() or 1) < 2, reason="needs Linux and 2 cores")
@pytest.mark.parametrize("rank", [0, 1])
@pytest.mark.parametrize("threads", [1, 2])
def test_processes_keep_to_their_own_cores(rank: int, threads: int) -> None:
    launched = {"LOCAL_WORLD_SIZE": "2", "LOCAL_RANK": str(rank)}
    two = "import os; os.sched_setaffinity(0, {0, 1})"
    program = f"{two}{KEPT.replace('THREADS', str(threads))}"
    printed = subprocess.check_output([sys.executable, "-c", program], env=os.environ | launched, text=True)
    assert printed.strip() == (f"[{rank}] True" if threads == 1 else "[0, 1] True")
