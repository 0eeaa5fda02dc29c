"""A real notebook in a real kernel: training twice, the stop button, and the progress bar that it shows."""

import json
import os
import signal
import threading
import time
from pathlib import Path

import pytest

from tests import forked
from tests.conftest import ROOT

pytest.importorskip("ipykernel", reason="needs nbclient and ipykernel: pip install -e .[dev]")
nbformat = pytest.importorskip("nbformat")
nbclient = pytest.importorskip("nbclient")

SETTINGS = "batch=32, width=8, threads=1, log_every=0.064"
CELLS = (
    f"""\
import os, sys
import gan_core
assert "torch" not in sys.modules
run = gan_core.train("vanilla", "digits", kimg=1, out="first", {SETTINGS})""",
    f"""\
other = gan_core.train("vanilla", kimg=0.5, out="second", precision="bf16", {SETTINGS})
assert run.sample(3, seed=1).shape == other.sample(3).shape == (3, 1, 8, 8)""",
    f"""\
open("pid", "w").write(str(os.getpid()))
stopped = gan_core.train("vanilla", kimg=1e6, out="stopped", checkpoint_every=1e6, {SETTINGS})""",
    """\
assert stopped.status == "interrupted"
assert gan_core.load("stopped").images_seen == stopped.metrics[-1]["images_seen"] > 0""",
)


@pytest.fixture
def kernel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A kernel of this interpreter: in parallel tests, `sys.executable` is a stand-in."""
    folder = tmp_path / "jupyter" / "kernels" / "tested"
    folder.mkdir(parents=True)
    command = [forked.PYTHON, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    spec = {"argv": command, "display_name": "tested", "language": "python"}
    (folder / "kernel.json").write_text(json.dumps(spec))
    monkeypatch.setenv("JUPYTER_PATH", str(tmp_path / "jupyter"))
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    return "tested"


def press_stop(folder: Path) -> None:
    """Sends what the stop button of a notebook sends to its kernel, once training has begun."""
    while not (folder / "stopped" / "metrics.jsonl").exists():
        time.sleep(0.05)
    os.kill(int((folder / "pid").read_text()), signal.SIGINT)


def test_a_notebook_trains_twice_and_is_stopped(tmp_path: Path, kernel: str) -> None:
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in CELLS])
    client = nbclient.NotebookClient(
        notebook, timeout=300, kernel_name=kernel, resources={"metadata": {"path": str(tmp_path)}}
    )
    stop = threading.Thread(target=press_stop, args=(tmp_path,), daemon=True)
    stop.start()
    client.execute()
    stop.join(10)
    first, second, stopped, _ = notebook.cells
    for cell, done in ((first, "1.024"), (second, "0.512")):
        shown = [output.data for output in cell.outputs if output.output_type == "display_data"]
        (bar,) = [data for data in shown if "<progress" in data.get("text/html", "")]
        seen = int(float(done) * 1000)
        assert f'<progress value="{seen}" max="{seen}">' in bar["text/html"]  # Updated in place, to the end.
        assert "discriminator real" in bar["text/html"]
        assert "100%" in bar["text/plain"]
        assert any(f"finished at {done} kimg" in data.get("text/plain", "") for data in shown)
    texts = "".join(str(output) for output in stopped.outputs)
    assert "interrupted at" in texts
    assert "Traceback" not in texts
