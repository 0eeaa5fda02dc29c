"""The live view in a terminal of 80 columns, and the plain lines in a log file."""

import fcntl
import os
import pty
import re
import struct
import subprocess
import termios
from pathlib import Path

from tests import forked
from tests.conftest import ROOT, command, gan_core

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
    bars = [line for line in lines if " kimg " in line and "%" in line and "img/s" in line]
    assert bars
    assert re.search(r"\d\.\d kimg .*\d+% [\d,]+ img/s \d:\d\d:\d\d", bars[-1])
    assert any(line.startswith("discriminator real 0.") for line in lines)
    assert [line for line in lines if line][-1].startswith("finished at 3.2 kimg:")


def test_a_log_file_gets_plain_lines(tmp_path: Path) -> None:
    output = gan_core(*FLAGS, "--out", tmp_path / "run")
    assert "\x1b" not in output
    assert "\r" not in output
    (last,) = re.findall(r"^3\.2/3\.2 kimg  [\d,]+ img/s  00:00:00 left  discriminator real .*", output, re.MULTILINE)
    assert "generator adversarial" in last
