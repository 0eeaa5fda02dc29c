"""A process that waits for a lost one leaves with the message, also where it gets no exception and hears no signal.

So it is with NCCL, whose waits are in CUDA. Here a process sleeps in C: after it has issued a collective, without
waiting for its result.
"""

import json
import os
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.test_lost_processes import exit_of, processes
from tests.test_plugin_loading import install

CODE = '''
import ctypes
import os
import signal
from dataclasses import replace

import torch
from gan_core import Variant
from gan_core_vanilla import VanillaOptions
from gan_core_vanilla import variant as vanilla

def fail():
    raise RuntimeError("the cause")

HOW = {
    "sleeps": lambda: ctypes.CDLL(None).sleep(1000),
    "sleeps with the GIL": lambda: ctypes.PyDLL(None).sleep(1000),
    "is stopped": lambda: os.kill(os.getpid(), signal.SIGSTOP),
    "fails": fail,
    "takes long": lambda: ctypes.CDLL(None).sleep(5),
}

class HangOptions(VanillaOptions):
    """The options."""
    how: str = ""
    """What happens in the sixth update."""
    ranks: list[int] = []
    """The processes in which it happens."""
    unheard: bool = True
    """Whether the others get no exception, as with NCCL."""

def build(options, data):
    game = vanilla.build(options, data)
    update = -2  # The first call only finds unused parameters.

    def loss(networks, batch):
        nonlocal update
        update += 1
        if update == 6 and options.how:
            if int(os.environ["RANK"]) in options.ranks:
                HOW[options.how]()
            elif options.unheard:
                torch.distributed.all_reduce(torch.zeros(1), async_op=True)
                ctypes.CDLL(None).sleep(1000)
        return game.phases[0].loss(networks, batch)

    return replace(game, phases=[replace(game.phases[0], loss=loss), *game.phases[1:]])

variant = Variant(api=2, options=HangOptions, build=build)
'''

TRAIN = (
    *("train", "--variant", "hang", "--set", "width=4", "--batch", "12", "--sample-every", "1000", "--steps", 12),
    *("--checkpoint-every", 0.024, "--set", "log_every=0.024", "--set", "deadline=3", "--out", "run"),
)


@pytest.fixture
def site(tmp_path: Path) -> str:
    folder = tmp_path / "site"
    folder.mkdir()
    install(folder, distribution="hang-gan", name="hang", code=CODE)
    return os.pathsep.join([str(folder), *filter(None, [os.environ.get("PYTHONPATH")])])


def words(how: str, *ranks: int, unheard: bool = True) -> list[object]:
    return [*TRAIN, "--set", f"how={how}", "--set", f"ranks={list(ranks)}", "--set", f"unheard={unheard}"]


SILENT = "process {} of 2 ended or did not answer within 3 s"
CASES = {
    "sleeps": "process 1 of 2 kept the others waiting for 3 s, in <lambda> (hang_gan.py:16)",
    "sleeps with the GIL": SILENT.format(1),
    "is stopped": SILENT.format(1),
    "fails": "process 1 of 2 stopped: RuntimeError: the cause",
}


def test_a_process_that_waits_without_hearing_anything_names_the_lost_one_and_leaves(tmp_path: Path, site: str) -> None:
    with ExitStack() as stack:  # All at once, because most of the time passes with waiting.
        runs = {}
        for how in CASES:
            folder = tmp_path / how
            folder.mkdir()
            mine = words(how, 1)
            runs[how] = stack.enter_context(processes(mine, mine, folder=folder, PYTHONPATH=site))
        for how, (first, second) in runs.items():
            code, errors = exit_of(first)
            assert code == 1
            assert f"error: {CASES[how]}\nThe last checkpoint is intact: run the same command to resume" in errors
            run = tmp_path / how / "0" / "run"
            assert json.loads((run / "run.json").read_text())["status"] == "failed"
            assert list((run / "checkpoints").glob("*/manifest.json"))
            if how in ("sleeps", "fails"):  # The others hear nothing.
                code, errors = exit_of(second)
                assert code == 1
                assert "error" not in errors


@pytest.mark.parametrize("unheard", [True, False])
def test_where_the_process_that_hosts_the_store_is_stopped_the_next_one_says_so(
    unheard: bool, tmp_path: Path, site: str
) -> None:
    mine = words("is stopped", 0, unheard=unheard)
    with processes(mine, mine, folder=tmp_path, PYTHONPATH=site) as (_, second):
        code, errors = exit_of(second)
    assert code == 1
    assert f"error (process 1): {SILENT.format(0)}" in errors


def test_the_main_process_marks_the_run_failed_also_where_it_is_the_one_that_hangs(tmp_path: Path, site: str) -> None:
    mine = words("sleeps", 0)
    with processes(mine, mine, folder=tmp_path, PYTHONPATH=site) as both:
        (code, errors), (other_code, other_errors) = map(exit_of, both)
    assert code == other_code == 1
    assert "error" not in errors
    assert "error (process 1): process 0 of 2 kept the others waiting for 3 s" in other_errors
    assert json.loads((tmp_path / "0" / "run" / "run.json").read_text())["status"] == "failed"


@pytest.mark.parametrize("unheard", [True, False])
def test_of_three_processes_one_prints_and_all_leave(unheard: bool, tmp_path: Path, site: str) -> None:
    mine = words("sleeps", 1, unheard=unheard)
    with processes(mine, mine, mine, folder=tmp_path, PYTHONPATH=site) as all_three:
        ends = [exit_of(process) for process in all_three]
    assert [code for code, _ in ends] == [1, 1, 1]
    errors = "".join(text for _, text in ends)
    assert errors.count("error") == 1
    assert "error: process 1 of 3 kept the others waiting for 3 s" in errors


def test_a_long_phase_in_which_no_process_waits_for_another_ends_nothing(tmp_path: Path, site: str) -> None:
    mine = words("takes long", 0, 1)
    with processes(mine, mine, folder=tmp_path, PYTHONPATH=site) as both:
        ends = [exit_of(process) for process in both]
    assert [code for code, _ in ends] == [0, 0], ends
