"""The steps of `make test-gpu`, short, on the CPU: that they work at the first try where there is a GPU."""

import json
import sys
import warnings
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest
import torch

from tests import forked
from tests.conftest import ROOT
from tests.gpu.lab import Lab
from tests.gpu.report import write
from tests.gpu.steps import STEPS
from tests.gpu.waits import WARNING, counting_waits


def launch(words: Sequence[str], ranks: Sequence[Mapping[str, str]]) -> tuple[int, str]:
    """`tests.gpu.lab.launch`, with processes that are forked from one that has imported torch."""
    server = forked.server()
    environments = [server.environment | dict(rank) for rank in ranks]
    with server.start(list(words), ROOT, environments) as process:
        out, errors = process.communicate(timeout=120)
    return int(bool(process.returncode)), out + errors


@pytest.mark.skipif(sys.platform != "linux", reason="processes are forked")
@pytest.mark.parametrize("name", STEPS)
def test_every_step_works_on_the_cpu(name: str, tmp_path: Path) -> None:
    result = STEPS[name][0](Lab(device="cpu", folder=tmp_path / "lab", short=True, launch=launch))
    assert result
    steps = {name: {"outcome": "passed", "seconds": 1.0, "result": result}}
    json_file, table = write(tmp_path, {"device": {"name": "Some CPU"}, "steps": steps})
    assert table.name == "gpu-some-cpu.md"
    assert json.loads(json_file.read_text())["steps"][name]["result"] == result
    assert f"| {name} | passed, 1 s |" in table.read_text()


def test_the_steps_take_less_than_nine_minutes() -> None:
    assert sum(seconds for _, seconds in STEPS.values()) <= 540


def test_waits_are_counted_by_the_project_s_line_that_waits() -> None:
    def waits() -> None:
        warnings.warn(f"{WARNING} (Triggered internally)", stacklevel=1)

    seen: Counter[str] = Counter()
    shown = warnings.showwarning
    with counting_waits(seen, enabled=False):
        for _ in range(3):
            waits()
        # A warning from torch's own code counts for the line that calls it.
        torch.utils._pytree.tree_map(lambda _: warnings.warn(WARNING, stacklevel=1), [1, 2])
    first = waits.__code__.co_firstlineno + 1
    assert seen[f"tests/test_gpu.py:{first} waits"] == 3
    assert sum(seen.values()) == 5
    assert warnings.showwarning is shown


def test_without_a_gpu_it_is_skipped_with_the_reason_and_make_runs_it(tmp_path: Path) -> None:
    done = forked.run(
        ["tests.gpu", "--out", str(tmp_path / "gpu")], folder=ROOT, environment=forked.server().environment, timeout=120
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"skipped: torch {torch.__version__} sees no CUDA device")
    assert not (tmp_path / "gpu").exists()
    assert "python -m tests.gpu --out build/gpu" in (ROOT / "Makefile").read_text()
