"""The live view in a terminal of 80 columns, and the plain lines in a log file."""

import fcntl
import os
import pty
import re
import struct
import subprocess
import termios
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from gan_core.observers.history import Measured
from gan_core.observers.live import LiveView
from gan_core.progress import reading
from tests import forked
from tests.conftest import ROOT, command, gan_core

LAST = r"^3\.2/3\.2 kimg  [\d,]+ img/s  0:\d\d:\d\d elapsed  0:00:00 left  \d\.\d GiB  discriminator real .*"
FLAGS = ("train", "--variant", "dcgan", "--set", "width=4", "--batch", "16", "--steps", "200", "--set", "log_every=0.1")


def test_an_80_column_terminal_shows_progress_rate_time_left_and_terms(tmp_path: Path) -> None:
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 80, 0, 0))
    environment = {key: value for key, value in os.environ.items() if key not in ("COLUMNS", "NO_COLOR")}
    process = subprocess.Popen(
        command(*FLAGS, "--out", tmp_path / "run", folder=forked.stand_ins()),
        cwd=ROOT,
        stdout=theirs,
        stderr=theirs,
        env=environment | {"TERM": "xterm-256color"},
    )
    os.close(theirs)
    seen = b""
    try:
        while chunk := os.read(ours, 65536):
            seen += chunk
    except OSError:  # Linux raises it when the other end is closed.
        pass
    assert process.wait(timeout=60) == 0
    lines = re.sub(rb"\x1b\[[0-9;?]*[A-Za-z]", b"", seen).decode().replace("\r", "\n").splitlines()
    assert max(map(len, lines)) <= 80 or str(tmp_path) in max(lines, key=len)  # Only what names the long folder.
    bars = [line for line in lines if re.search(r" \d+% \d\.\d/3\.2 kimg [\d,]+ img/s", line)]
    assert bars
    assert any(re.match(r"0:\d\d:\d\d elapsed  0:\d\d:\d\d left  \d\.\d GiB", line) for line in lines)
    assert any(re.match(r"discriminator +now +trend +lowest +generator +now +trend +lowest", line) for line in lines)
    assert any(re.match(r"real +0\.\d+ +[↓→↑] +0\.\d+ +adversarial +\d", line) for line in lines)
    end = [line.rstrip() for line in lines if line.strip()]
    place = next(number for number, line in enumerate(end) if line.startswith("finished at 3.2 kimg:"))
    run = tmp_path / "run"
    assert re.fullmatch(r"time     0:\d\d:\d\d", end[place + 1])
    assert end[place + 2 :] == [
        f"weights  {run}/checkpoints/000003200",
        f"log      {run}/metrics.jsonl",
        "next",
        f"  python -m gan_core sample {run} --out {run}/grid.png",
        f"  python -m gan_core evaluate {run}",
        f"  python -m gan_core report {run}",
    ]


def test_a_log_file_gets_plain_lines(tmp_path: Path) -> None:
    output = gan_core(*FLAGS, "--out", tmp_path / "run")
    assert "\x1b" not in output
    assert "\r" not in output
    (last,) = re.findall(LAST, output, re.MULTILINE)
    assert "generator adversarial" in last


def rendered(view: LiveView, width: int) -> list[str]:
    console = Console(width=width, file=StringIO(), force_terminal=True, color_system=None)
    console.print(view._rendered())
    return [line.rstrip() for line in console.file.getvalue().splitlines()]


def shown(width: int) -> LiveView:
    """A view after twenty log points, in which D's loss falls, G's rises, and R1 is level, and two evaluations."""
    view = LiveView(Console(width=width, file=StringIO(), force_terminal=True), 400_000, 0)
    for step in range(20):
        line = {"images_seen": 1000.0 * step, "step": 1.0, "images_per_second": 1234.5, "D/real": 1 / (step + 1)}
        view.log(line | {"D/r1": 0.5, "G/a very long name of a term of a loss": 1.0 + step, "D/learning rate": 0.1})
    for kid in (0.25, 0.5):
        view.evaluated(8000, [Measured(title="KID", value=kid, floor=0.125, direction=-1)])
    return view


@pytest.mark.parametrize("width", [80, 200])
def test_terms_have_a_trend_and_their_lowest_value_and_evaluations_a_floor(width: int) -> None:
    lines = rendered(shown(width), width)
    assert max(map(len, lines)) <= width
    cells = [re.split(r" {2,}", line) for line in lines]
    assert ["real", "0.05", "↓", "0.05"] in [row[:4] for row in cells]
    assert ["r1", "0.5", "→", "0.5"] in [row[:4] for row in cells]
    assert [row[-3:] == ["20", "↑", "1"] for row in cells if "very long" in " ".join(row)] == [True]
    assert ["KID", "0.5", "0.25", "0.125"] in cells
    assert not any("learning rate" in line for line in lines)
    wide = next(line for line in lines if line.startswith("D "))
    assert wide.count("lowest") == 2  # The phases stand side by side.


def test_an_evaluation_in_a_log_is_one_line_with_floors() -> None:
    file = StringIO()
    view = LiveView(Console(file=file), 400_000, 0)
    view.evaluated(8000, [Measured(title="KID", value=0.25, floor=0.125, direction=-1)])
    assert file.getvalue() == "evaluation at 8 kimg: KID 0.25 (real images 0.125)\n"


def test_reading_shows_a_bar_on_a_terminal_only(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert list(reading(range(3), 3, "reading images")) == [0, 1, 2]
    assert capsys.readouterr() == ("", "")
    monkeypatch.setenv("FORCE_COLOR", "1")
    assert list(reading(range(3), 3, "reading images")) == [0, 1, 2]
    assert "reading images" in capsys.readouterr().err
    monkeypatch.setenv("RANK", "1")
    assert list(reading(range(3), 3, "reading images")) == [0, 1, 2]
    assert capsys.readouterr().err == ""
