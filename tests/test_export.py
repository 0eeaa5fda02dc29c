"""Exports: what is loaded in a fresh process without gan_core draws the images of the run, to 1e-5."""

import base64
import importlib.util
import json
import subprocess
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from PIL import Image
from rich.console import Console
from safetensors.torch import load_file

from gan_core.app.load import load_run
from gan_core.app.training import start
from gan_core.cli.export import export
from gan_core.errors import UserError
from tests import forked
from tests.conftest import make_job
from tests.translating import install_translator, write_domains

FORMATS = ("safetensors", "torchscript", "onnx", "torch-export")
LAST = "{conv_transpose: {channels: 1, kernel: 4, stride: 2}}"
LAYERS = f"[{{dense: 64}}, batch_norm, relu, {{reshape: [4, 4, 4]}}, {LAST}, tanh]"
RUNS = {
    "acgan": ("acgan", "width=2", "maps=4"),
    "default": ("dcgan", "width=4", "latent=8"),
    "layers": ("dcgan", f"generator={LAYERS}", "width=4"),
}
LOAD = """
import re, sys
from os import chdir
import numpy
sys.path.insert(0, "")
for folder in sys.argv[1:]:
    chdir(folder)
    sys.modules.pop("generator", None)
    code = re.search(r"```python\\n(.*?)```", open("README.md", encoding="utf-8").read(), re.DOTALL)[1]
    assert len(code.strip().splitlines()) <= 10
    names = {}
    exec(code, names)
    numpy.save("images.npy", numpy.asarray(names["images"]))
assert not [name for name in sys.modules if name.startswith("gan_core")]
"""


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root, made = tmp_path_factory.mktemp("runs"), {}
    for name, (variant, *assignments) in RUNS.items():
        made[name] = root / name
        start(make_job(*assignments, variant=variant, steps=2, batch=16, out=made[name]), (), Console(quiet=True))
    return made


def check(run: Path, folder: Path) -> None:
    """Compares what a folder's code has drawn with what the run's own sampler draws from the same inputs."""
    sampler = load_run(run, torch.device("cpu")).sampler(0)
    labels = sampler.labels(16)
    expected = sampler.generated(0, labels, count=16)[sampler.name]
    found = np.load(folder / "images.npy")
    assert found.shape == (16, 1, 8, 8)
    assert float(np.abs(found - expected.numpy()).max()) <= min(1e-5, found.std() / 20)


def loaded_fresh(*folders: Path) -> None:
    done = subprocess.run(
        [forked.PYTHON, "-c", LOAD, *map(str, folders)],
        cwd="/",
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr


def test_every_format_draws_the_same_images_without_gan_core(runs: dict[str, Path], tmp_path: Path) -> None:
    made = [("acgan", kind) for kind in FORMATS] + [("default", "safetensors"), ("layers", "safetensors")]
    for name, kind in made:
        export(runs[name], kind=kind, out=tmp_path / f"{name}-{kind}")
    loaded_fresh(*(tmp_path / f"{name}-{kind}" for name, kind in made))
    for name, kind in made:
        check(runs[name], tmp_path / f"{name}-{kind}")
    for folder in tmp_path.iterdir():  # No path of this machine is left in a file.
        for file in folder.iterdir():
            assert str(Path(__file__).parent.parent).encode() not in file.read_bytes(), file


@pytest.mark.slow
@pytest.mark.parametrize("kind", FORMATS[1:])
def test_the_other_formats_of_dcgan(kind: str, runs: dict[str, Path], tmp_path: Path) -> None:
    for name in ("default", "layers"):
        export(runs[name], kind=kind, out=tmp_path / name)
    loaded_fresh(tmp_path / "default", tmp_path / "layers")
    for name in ("default", "layers"):
        check(runs[name], tmp_path / name)


def test_the_card_has_a_header_the_metrics_with_floors_and_a_grid(runs: dict[str, Path], tmp_path: Path) -> None:
    metrics = {"kid": {"value": 0.25, "samples": 64, "floor": {"value": 0.125, "samples": 64}}, "fid": {"skipped": "x"}}
    protocol = {"name": "standard", "samples": 64, "features": "random|<b>"}
    evaluation = runs["acgan"] / "evaluation.json"
    evaluation.write_text(json.dumps({"images_seen": 32, "protocol": protocol, "metrics": metrics}))
    try:
        export(runs["acgan"], kind="safetensors", out=tmp_path / "out")
    finally:
        evaluation.unlink()
    _, header, body = (tmp_path / "out" / "README.md").read_text().split("---\n", 2)
    values = yaml.safe_load(header)
    assert values["pipeline_tag"] == "unconditional-image-generation"
    assert values["gan_core"]["variant"] == "acgan"
    assert values["gan_core"]["dataset"] == "digits"
    assert values["gan_core"]["metrics"] == {"kid": {"value": 0.25, "floor": 0.125}}
    assert "| KID | 0.25 | 0.125 |" in body
    assert r"random\|&lt;b&gt;" in body
    assert "- `labels`: int64 (N), the class: 0 to 9" in body
    with Image.open(tmp_path / "out" / "grid.png") as grid:
        assert grid.width > 8 * 64
    weights = load_file(tmp_path / "out" / "model.safetensors")
    own = load_run(runs["acgan"]).networks["generator"].state_dict()
    assert len(weights) > 5
    assert all(torch.equal(own[name.removeprefix("generator.")], value) for name, value in weights.items())


def test_what_cannot_be_exported_leaves_nothing(
    runs: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(UserError, match=r"'onxx' is not allowed\. Did you mean 'onnx'"):
        export(runs["acgan"], kind="onxx", out=tmp_path / "out")
    with pytest.raises(UserError, match=r"push: 'me' is not allowed\. Write OWNER/NAME"):
        export(runs["acgan"], kind="safetensors", out=tmp_path / "out", repository="me")
    find = importlib.util.find_spec
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None if name == "onnx" else find(name))
    with pytest.raises(UserError, match=r"needs onnx: pip install gan-core\[export\]"):
        export(runs["acgan"], kind="onnx", out=tmp_path / "out")
    assert not list(tmp_path.iterdir())
    (tmp_path / "there").mkdir()
    (tmp_path / "there" / "file").touch()
    with pytest.raises(UserError, match=r"already exists\. Use a new folder"):
        export(runs["acgan"], kind="safetensors", out=tmp_path / "there")


def test_a_generator_that_draws_random_numbers_itself_is_refused(
    runs: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    forward = torch.nn.Tanh.forward
    monkeypatch.setattr(torch.nn.Tanh, "forward", lambda self, x: forward(self, x + 0.1 * torch.randn_like(x)))
    with pytest.raises(UserError, match="draws other images than the run"):
        export(runs["default"], kind="safetensors", out=tmp_path / "out")
    assert not list(tmp_path.iterdir())


def test_an_image_to_image_generator_takes_images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install_translator(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    run, data = tmp_path / "run", write_domains(tmp_path / "data")
    start(make_job(variant="translator", dataset=data, steps=1, batch=16, out=run), (), Console(quiet=True))
    export(run, kind="safetensors", out=tmp_path / "out")
    card = (tmp_path / "out" / "README.md").read_text()
    assert "pipeline_tag: image-to-image" in card
    (given,) = load_file(tmp_path / "out" / "inputs.safetensors").values()
    assert given.min() >= -1
    assert given.max() <= 1
    assert given.shape == (16, 1, 8, 8)


class Hub(BaseHTTPRequestHandler):
    """A stand-in for the Hub's API: it makes repositories and takes commits whose files stand in the request."""

    files: dict[str, bytes]
    asked: list[str]

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.asked.append(self.path)
        if self.path == "/api/repos/create":
            name = json.loads(body)["name"]
            return self.answer({"url": f"http://{self.headers['Host']}/me/{name}", "name": name, "id": f"me/{name}"})
        if "/preupload/" in self.path:
            names = [file["path"] for file in json.loads(body)["files"]]
            shown = [{"path": name, "uploadMode": "regular", "shouldIgnore": False} for name in names]
            return self.answer({"files": shown})
        if self.path == "/api/validate-yaml":
            return self.answer({"errors": [], "warnings": []})
        for line in body.splitlines():
            entry = json.loads(line)
            if entry["key"] == "file":
                self.files[entry["value"]["path"]] = base64.b64decode(entry["value"]["content"])
        return self.answer(
            {"commitUrl": f"http://{self.headers['Host']}/me/gan/commit/1", "commitOid": "1" * 40, "hookOutput": ""}
        )

    def do_GET(self) -> None:
        self.asked.append(self.path)
        self.answer({"id": "me/gan", "siblings": [], "sha": "0" * 40, "private": False, "tags": [], "downloads": 0})

    def answer(self, value: object) -> None:
        text = json.dumps(value).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, *arguments: object) -> None:
        """Nothing is printed."""


@pytest.fixture
def hub() -> Iterator[tuple[str, type[Hub]]]:
    kind = type("Own", (Hub,), {"files": {}, "asked": []})
    with ThreadingHTTPServer(("127.0.0.1", 0), kind) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}", kind
        server.shutdown()
        thread.join()


def test_a_push_uploads_the_folder_to_the_repository(
    runs: dict[str, Path],
    tmp_path: Path,
    hub: tuple[str, type[Hub]],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """huggingface_hub itself uploads, to a stand-in for the Hub on this machine."""
    address, kind = hub
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", address)
    monkeypatch.setenv("HF_TOKEN", "hf_stand_in")
    export(runs["default"], kind="torchscript", out=tmp_path / "out", repository="me/gan")
    assert f"pushed to {address}/me/gan" in capsys.readouterr().out
    assert "/api/repos/create" in kind.asked
    sent = {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()}
    assert {"README.md", "model.torchscript.pt", "inputs.safetensors", "config.json", "grid.png"} == set(sent)
    assert kind.files == sent
    assert "/api/models/me/gan/commit/main" in kind.asked
