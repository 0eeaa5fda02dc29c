"""Malicious files and names: no code in them is executed, and no path escapes its folder."""

import hashlib
import json
import pickle
import re
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import yaml

from gan_core import generated
from gan_core.errors import UserError
from gan_core.game.game import Game
from gan_core.runs.checkpoint import newest
from gan_core.runs.folder import RunFolder
from gan_core.settings.resolve import resolve
from gan_core.settings.settings import Settings
from tests.conftest import ROOT
from tests.test_updates import product
from tests.toys import Scale, toy_phase

Train = Callable[..., str]


class Malicious:
    """Creates a file when it is unpickled."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> tuple[object, ...]:
        return Path.touch, (self.trace,)


def sign(checkpoint: Path) -> None:
    """Updates the manifest to match the files, as an attacker with write access can."""
    manifest = json.loads((checkpoint / "manifest.json").read_text())
    for name in manifest["files"]:
        content = (checkpoint / name).read_bytes()
        manifest["files"][name] = {"size": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    (checkpoint / "manifest.json").write_text(json.dumps(manifest))


@pytest.mark.parametrize(
    ("name", "write", "message"),
    [
        ("optimizer-generator.pt", torch.save, "holds something other than tensors and plain values"),
        (
            "optimizer-generator.pt",
            lambda it, file: file.write_bytes(pickle.dumps(it, 2)),
            "holds something other than",
        ),
        ("generator.safetensors", torch.save, "is not a valid safetensors file"),
        (
            "generator.safetensors",
            lambda it, file: file.write_bytes(pickle.dumps(it)),
            "is not a valid safetensors file",
        ),
    ],
)
def test_no_pickle_is_executed(
    tmp_path: Path, train: Train, name: str, write: Callable[[object, Path], object], message: str
) -> None:
    run, trace = tmp_path / "run", tmp_path / "executed"
    train("width=4", variant="dcgan", batch=32, steps=2, out=run)
    checkpoint = run / "checkpoints" / "000000064"
    write(Malicious(trace), checkpoint / name)
    sign(checkpoint)
    with pytest.raises(UserError, match=message):
        train("width=4", variant="dcgan", batch=32, steps=4, out=run)
    assert not trace.exists()
    pickle.loads(pickle.dumps(Malicious(trace)))  # Unsafe loading executes it.
    assert trace.exists()


def test_no_yaml_tag_is_executed(tmp_path: Path) -> None:
    trace = tmp_path / "executed"
    code = f"!!python/object/apply:os.mkdir ['{trace}']"
    (tmp_path / "config.yaml").write_text(f"variant: {code}\n")
    with pytest.raises(UserError, match="cannot be read"):
        resolve({}, config=tmp_path / "config.yaml")
    with pytest.raises(UserError, match="cannot be read"):
        RunFolder(tmp_path).read_config()
    with pytest.raises(UserError, match="not readable as YAML"):
        resolve({"variant": "dcgan"}, [f"width={code}"])
    assert not trace.exists()
    yaml.unsafe_load(code)  # Unsafe loading executes it.
    assert trace.exists()


@pytest.mark.parametrize("variant", ["../../evil", "some-dist:../../evil", "/etc/evil", ".."])
@pytest.mark.parametrize("dataset", ["folder:../..", "folder:/data/../..", "folder:/", "digits"])
def test_no_name_escapes_the_folder_of_runs(variant: str, dataset: str) -> None:
    folder = Settings(variant=variant, dataset=dataset).folder
    assert folder.resolve().parent == Path("runs").resolve()


PICKLES = re.compile(
    r"pickle\.(loads?|dumps?)\b|pickler\b|from pickle import|\bdill\b|joblib|shelve|marshal|allow_pickle=True"
    r"|(gather|broadcast|scatter|send|recv)_object"
    r"|\.recv\(\)|Queue\(|\bPipe\(|\bPool\(|\bManager\(|ProcessPool|num_workers=(?!0\b)|\"(spawn|forkserver)\"",
    re.IGNORECASE,
)
"""What pickles or unpickles: modules, collective operations, and ways to another process."""


def test_nothing_in_the_core_pickles_or_unpickles_but_with_weights_only() -> None:
    for path in (ROOT / "gan_core").rglob("*.py"):
        text = path.read_text()
        assert not (found := PICKLES.search(text)), f"{path}: {found}"
        for call in re.findall(r"torch\.load\(([^\n]+)", text):
            assert "weights_only=True" in call, path


@pytest.mark.parametrize(
    "line",
    [
        *("pickle.loads(content)", "requests.send_bytes(pickle.dumps(decoder))", "Unpickler(file).load()"),
        *("start, indices = requests.recv()", "queue = context.SimpleQueue()", "with Pool(2) as pool:"),
        *("DataLoader(rows, batch, num_workers=2)", "dist.all_gather_object(every, mine)", 'get_context("spawn")'),
    ],
)
def test_what_pickles_is_recognised(line: str) -> None:
    assert PICKLES.search(line)


@pytest.mark.parametrize("name", ["../generator", "a/b", "..", ""])
def test_no_network_name_escapes_a_checkpoint(name: str) -> None:
    with pytest.raises(ValueError, match="is not allowed as the name of a network"):
        Game(
            networks={name: Scale()},
            phases=[toy_phase("phase", product, trains=(name,))],
            draw=lambda random, request: {},
            outputs={"images": generated(name)},
        )


def test_a_checkpoint_whose_manifest_points_outside_it_is_skipped(tmp_path: Path) -> None:
    outside = tmp_path / "outside.pt"
    outside.write_bytes(b"secret")
    checkpoint = tmp_path / "checkpoints" / "000000064"
    checkpoint.mkdir(parents=True)
    digest = {"size": 6, "sha256": hashlib.sha256(b"secret").hexdigest()}
    (checkpoint / "manifest.json").write_text(json.dumps({"images_seen": 64, "files": {"../../outside.pt": digest}}))
    warnings: list[str] = []
    assert newest(tmp_path / "checkpoints", warnings.append) is None
    assert "outside.pt is missing" in warnings[0]
