"""Downloads of the classics: a bar shows how far they are, and they are made once for all processes."""

import gzip
import hashlib
import re
import struct
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from torchvision import datasets

from gan_core.data.catalog import open_dataset


def idx(*shape: int) -> bytes:
    """Returns a packed idx file of zeros."""
    head = bytes([0, 0, 8, len(shape)]) + struct.pack(f">{len(shape)}I", *shape)
    size = shape[0] * (28 * 28 if len(shape) == 3 else 1)
    return gzip.compress(head + bytes(size), compresslevel=1)


@pytest.fixture
def served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Serves a KMNIST of black images to torchvision; returns what is asked for."""
    asked: list[str] = []
    resources = []
    for start, count in (("train", 60_000), ("t10k", 10_000)):
        for kind, shape in (("images-idx3", (count, 28, 28)), ("labels-idx1", (count,))):
            content = idx(*shape)
            name = f"{start}-{kind}-ubyte.gz"
            (tmp_path / "served").mkdir(exist_ok=True)
            (tmp_path / "served" / name).write_bytes(content)
            resources.append((name, hashlib.md5(content, usedforsecurity=False).hexdigest()))

    class Handler(SimpleHTTPRequestHandler):
        def log_message(self, _format: str, *words: object) -> None:
            asked.append(str(words[0]))

    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=str(tmp_path / "served")))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setattr(datasets.KMNIST, "mirrors", [f"http://127.0.0.1:{server.server_port}/"])
    monkeypatch.setattr(datasets.KMNIST, "resources", resources)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    yield asked
    server.shutdown()
    server.server_close()


def test_a_download_shows_counts_and_the_time_left_and_is_made_once(
    served: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def read() -> str:
        assert len(open_dataset("kmnist").read("images", "train").labels["labels"]) == 60_000
        return capsys.readouterr().err

    said = read()
    assert f"downloading kmnist to {tmp_path}/cache/gan_core" in said.splitlines()
    assert len(re.findall(r"100%\|█+\| ([\d.]+k?)/\1 \[\d\d:\d\d<\d\d:\d\d", said)) == 4  # Done, all, elapsed, left.
    assert len({line.split()[1] for line in served}) == 4
    served.clear()
    assert read() == ""  # As another process of the machine does, which has waited.
    assert not served
