"""Whatever lies in a run's folder: one row in `runs`, one clear error elsewhere, and little memory."""

import json
import os
import shutil
import tracemalloc
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from gan_core.app.load import load_run
from gan_core.documents import parse_json, parse_yaml, read_json, read_yaml
from gan_core.errors import TrainingError, UserError
from gan_core.evaluation.compare import read_runs
from gan_core.runs.folder import RunFolder
from gan_core.runs.listing import list_runs

Train = Callable[..., str]
BOMB = "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"{chr(98 + n)}: &{chr(98 + n)} [{','.join([f'*{chr(97 + n)}'] * 9)}]\n" for n in range(12)
)
JUNK: dict[str, bytes] = {
    "empty": b"",
    "null": b"null",
    "number": b"7",
    "list": b"[1, 2]",
    "cut off": b'{"status": "fin',
    "bytes": bytes(range(256)) * 40,
    "zeros": bytes(100_000),
    "NaN": b'{"status": "finished", "length": NaN, "images_seen": NaN}',
    "huge": b'{"status": "finished", "length": 1e999, "images_seen": 1e999}',
    "digits": b'{"length": ' + b"9" * 5000 + b"}",
    "wrong types": b'{"status": ["x"], "length": "long", "process": 3, "data": [], "images_seen": {}}',
    "null values": b'{"status": null, "length": null, "process": null, "images_seen": null, "protocol": null}',
    "true": b'{"status": "running", "length": true, "images_seen": true}',
    "negative": b'{"status": "running", "length": -5, "process": {"host": null, "pid": "x", "started": []}}',
    "no strings": b"{1: 2, null: 3}",
    "twice": b'{"status": "finished", "status": "running"}',
    "deep": b'{"a":' * 50_000,
    "deep lists": b"[" * 200_000,
    "aliases": BOMB.encode(),
    "large": b'{"a": "' + b"x" * 30_000_000 + b'"}',
}
FILES = ("config.yaml", "run.json", "metrics.jsonl", "evaluation.json")


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A short run; its folder is copied by each test."""
    from rich.console import Console

    from gan_core.app.training import start
    from tests.conftest import make_job

    run = tmp_path_factory.mktemp("documents") / "run"
    start(make_job("width=4", variant="vanilla", steps=2, batch=16, out=run), (), Console(quiet=True))
    (run / "evaluation.json").write_text(json.dumps({"protocol": {}, "metrics": {}, "images_seen": 32, "seed": 0}))
    return run


@pytest.fixture
def run(trained: Path, tmp_path: Path) -> Path:
    shutil.copytree(trained, tmp_path / "runs" / "run")
    return tmp_path / "runs" / "run"


def refused_or_done(work: Callable[[], object]) -> None:
    with suppress(UserError, TrainingError):
        work()


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("junk", JUNK)
def test_junk_in_a_file_is_one_row_and_one_error(run: Path, train: Train, name: str, junk: str) -> None:
    (run / name).write_bytes(JUNK[junk])
    whole = shutil.copytree(run, run.parent / "whole")
    shutil.copy(Path(__file__), whole / "metrics.jsonl")  # No line of it is one of a log.
    tracemalloc.start()
    rows = {row.run: row for row in list_runs(run.parent)}
    refused_or_done(lambda: load_run(run))
    refused_or_done(lambda: read_runs([run]))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 100_000_000
    assert rows.keys() == {"run", "whole"}
    json.dumps(rows["run"].as_json(), allow_nan=False)
    if name in ("config.yaml", "run.json") and junk not in ("null values", "negative"):
        assert rows["run"].status.startswith("unreadable: ")
    refused_or_done(lambda: train("width=4", variant="vanilla", steps=3, batch=16, out=run))


@pytest.mark.parametrize("name", [*FILES, "checkpoints/000000032/manifest.json", "checkpoints/000000032"])
@pytest.mark.parametrize("kind", ["pipe", "folder", "broken link", "link to itself", "device"])
def test_what_is_no_regular_file_never_blocks(run: Path, train: Train, name: str, kind: str) -> None:
    path = run / name
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    else:
        path.symlink_to({"broken link": "nowhere", "link to itself": path.name, "device": "/dev/zero"}[kind])
    list_runs(run.parent)
    refused_or_done(lambda: load_run(run))
    refused_or_done(lambda: read_runs([run]))
    refused_or_done(lambda: train("width=4", variant="vanilla", steps=3, batch=16, out=run))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda m: m["files"].pop("generator.safetensors"), "does not list generator.safetensors"),
        (lambda m: m.update(images_seen=64), "is of 64 images"),
        (lambda m: m.update(images_seen=True), "is of True images"),
        (lambda m: m.update(files=[]), "does not list"),
        (lambda m: m.update(files=5), "cannot be read"),
        (lambda m: m["files"].update({"generator.safetensors": None}), "cannot be read"),
    ],
)
def test_a_manifest_lists_what_is_there(
    run: Path, change: Callable[[dict[str, object]], object], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = run / "checkpoints" / "000000032" / "manifest.json"
    manifest = json.loads(path.read_text())
    change(manifest)
    path.write_text(json.dumps(manifest))
    with pytest.raises(UserError, match="contains no intact checkpoint"):
        load_run(run)
    assert message in capsys.readouterr().err


def test_the_last_line_of_a_long_log_is_read_from_its_end(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    line = json.dumps({"images_seen": 5, "a/b": 1.5}) + "\n"
    folder.metrics.write_text(line * 400_000 + '{"images_seen": 7, "a/b": 2.5}\n{"images_se')
    tracemalloc.start()
    assert folder.read_last_metrics() == {"images_seen": 7, "a/b": 2.5}
    assert tracemalloc.get_traced_memory()[1] < 3_000_000
    tracemalloc.stop()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"a": 1, "a": 2}', "the key 'a' stands twice"),
        ("[NaN]", "NaN is not allowed"),
        ("[-Infinity]", "-Infinity is not allowed"),
        ("[1e999]", "1e999 is too large"),
        ("[" * 101 + "]" * 101, "more than 100 levels deep"),
    ],
)
def test_json_is_strict(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parse_json(text)
    assert parse_json("[" * 100 + "]" * 100)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: 1\nb: 2\na: 3", "the key 'a' stands twice"),
        ("a: &x [1]\nb: *x", "aliases"),
        ("{" * 5000, "more than 100 levels deep|expected"),
        ("a: !!python/object/apply:os.system [true]", "could not determine a constructor"),
    ],
)
def test_yaml_is_strict(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parse_yaml(text)


def test_limits_are_named(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("#" * 100_001)
    with pytest.raises(UserError, match=r"a\.yaml' cannot be read: it has 100,001 bytes, more than 100,000"):
        read_yaml(tmp_path / "a.yaml")
    with pytest.raises(UserError, match="cannot be read: it is not a regular file"):
        read_json(Path("/dev/zero"))
