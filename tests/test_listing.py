"""`gan_core runs`: status and progress of runs, also of killed and damaged ones."""

import json
import os
import re
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from gan_core.errors import UserError
from gan_core.runs.folder import RunFolder
from gan_core.runs.listing import Row, list_runs
from gan_core.runs.process import this_process
from tests.conftest import gan_core, start_gan_core

Train = Callable[..., str]


def made_by_hand(root: Path, *, status: str, process: dict[str, object], seen: int) -> None:
    folder = RunFolder(root)
    folder.create()
    folder.write_config({"variant": "dcgan", "dataset": "digits"})
    folder.write_metadata(status=status, process=process, length=4000)
    folder.append_metrics({"images_seen": seen, "generator/adversarial": 1.5})


def test_runs_are_listed_with_status_progress_variant_and_last_terms(tmp_path: Path, train: Train) -> None:
    train("width=4", "log_every=0.032", variant="dcgan", batch=32, steps=4, out=tmp_path / "deep" / "first")
    made_by_hand(tmp_path / "second", status="running", process=this_process(), seen=1000)
    rows = {row.run: row for row in list_runs(tmp_path)}
    assert list(rows) == ["second", "deep/first"]
    first, second = rows["deep/first"], rows["second"]
    assert (first.status, first.images_seen, first.length, first.variant) == ("finished", 128, 128, "dcgan")
    assert (second.status, second.images_seen, second.length) == ("running", 1000, 4000)
    output = gan_core("runs", tmp_path)
    row = next(line for line in output.splitlines() if line.startswith("second"))
    assert row.split()[1:7] == ["running", "1/4", "kimg", "25%", "dcgan", "digits"]
    assert "generator adversarial 1.5" in row
    listed = json.loads(gan_core("runs", tmp_path, "--json"))
    assert [row["run"] for row in listed] == ["second", "deep/first"]
    assert [row["updated"] for row in listed] == [second.updated, first.updated]
    assert listed[0]["metrics"] == {"images_seen": 1000, "generator/adversarial": 1.5}


def test_a_killed_run_is_not_listed_as_running(tmp_path: Path) -> None:
    run = tmp_path / "run"
    words = ("train", "--variant", "vanilla", "--kimg", "1e6", "--set", "log_every=1", "--out", run)
    process = start_gan_core(*words)
    while not (run / "metrics.jsonl").exists() and process.poll() is None:
        time.sleep(0.02)
    assert [row.status for row in list_runs(tmp_path)] == ["running"]
    process.kill()
    process.wait()
    assert [row.status for row in list_runs(tmp_path)] == ["killed"]


def test_processes_of_other_hosts_and_reused_process_ids(tmp_path: Path) -> None:
    elsewhere = {"host": "another-machine", "pid": os.getpid(), "started": 0.0}
    made_by_hand(tmp_path / "there", status="running", process=elsewhere, seen=10)
    reused = {**this_process(), "started": 1.0}  # This process ID, but of an earlier process.
    made_by_hand(tmp_path / "here", status="running", process=reused, seen=10)
    assert {row.run: row.status for row in list_runs(tmp_path)} == {"there": "running", "here": "killed"}


def test_a_damaged_run_is_listed(tmp_path: Path) -> None:
    made_by_hand(tmp_path / "run", status="finished", process={}, seen=10)
    (tmp_path / "run" / "run.json").write_text("{")
    (row,) = list_runs(tmp_path)
    assert row.run == "run"
    assert re.fullmatch(r"unreadable: '.*run\.json' cannot be read: Expecting property name .*", row.status)
    assert list_runs(tmp_path / "run" / "samples") == []
    with pytest.raises(UserError, match="is not a folder"):
        list_runs(tmp_path / "nowhere")


@pytest.mark.parametrize("width", [40, 80, 100, 119, 120, 200])
def test_the_names_of_runs_stand_in_full_on_a_terminal_of_any_width(width: int) -> None:
    from io import StringIO

    from rich.console import Console

    from gan_core.cli.tables.runs import runs_table

    names = ["dcgan-digits", "sweep/learning-rate-0.0002/beta1-0.5/seed-17", "x"]
    terms = {"images_seen": 500_000, "generator/adversarial": 1.25, "discriminator/real": 0.5}
    rows = [
        Row(
            run=name,
            status="interrupted",
            images_seen=250_000,
            length=length,
            variant="vanilla",
            dataset="fashion-mnist",
            updated=0.0,
            metrics=terms,
        )
        for name, length in zip(names, (500_000, 0, None), strict=True)
    ]
    shown = StringIO()
    Console(file=shown, width=width).print(runs_table(rows, width))
    lines = shown.getvalue().splitlines()
    assert max(map(len, lines)) <= width
    end = lines[0].index("status")
    assert "".join(line[:end].strip() for line in lines[1:]) == "".join(names)
    assert ("terms" in lines[0]) == (width >= 120)
