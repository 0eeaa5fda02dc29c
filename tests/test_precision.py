"""TF32 and deterministic algorithms: torch's flags at every place that computes, and what is said of them.

A CPU computes neither in TF32 nor in changing order: only the flags can be tested here; tests/gpu has the rest.
"""

import json
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from accelerate import Accelerator
from rich.console import Console
from torch import Tensor

from gan_core import Batch, DataSpec, Game, Networks, Options, Output, Terms, squared_gradient_norm
from gan_core.app.training import start
from gan_core.cli.tables.plan import plan_rows
from gan_core.errors import UserError
from gan_core.evaluation.embed import embed
from gan_core.features.load import load_features
from gan_core.features.real_data import RealData
from gan_core.precision import arithmetic, precise, tf32_restored
from tests.conftest import SMALL, difference, make_job, weights

Flags = tuple[bool, bool, bool, bool, str | None]


def flags() -> Flags:
    """Returns whether TF32 is allowed in cuDNN and cuBLAS, algorithms are deterministic in cuDNN and in all, and the
    environment variable of cuBLAS."""
    backends = torch.backends
    return (
        backends.cudnn.allow_tf32,
        backends.cuda.matmul.allow_tf32,
        backends.cudnn.deterministic,
        torch.are_deterministic_algorithms_enabled(),
        os.environ.get("CUBLAS_WORKSPACE_CONFIG"),
    )


TORCH = (True, False, False, False, None)
"""Torch's own flags: TF32 in convolutions only."""
OFF, ON = (False, False, False, False, None), (True, True, False, False, None)
DETERMINISTIC = (False, False, True, True, ":4096:8")


@pytest.fixture(autouse=True)
def _torch_s_own_flags() -> Iterator[None]:
    assert flags() == TORCH
    yield
    assert flags() == TORCH


def recording(place: str, seen: dict[str, set[Flags]], tensor: Tensor) -> Tensor:
    """Records the flags now, and when the gradient of the tensor is computed."""
    seen.setdefault(place, set()).add(flags())
    if tensor.requires_grad:
        tensor.register_hook(lambda gradient: seen.setdefault(f"backward of {place}", set()).add(flags()))
    return tensor


@pytest.mark.parametrize(
    ("given", "networks", "penalty"),
    [
        ({}, OFF, OFF),
        ({"tf32": True}, ON, OFF),
        ({"deterministic": True}, DETERMINISTIC, DETERMINISTIC),
        ({"tf32": True, "precision": "bf16"}, ON, OFF),
    ],
)
def test_the_flags_in_networks_penalties_and_their_backward(
    given: dict[str, object], networks: Flags, penalty: Flags, tmp_path: Path
) -> None:
    seen: dict[str, set[Flags]] = {}
    job = make_job(*SMALL, "r1=0", variant="dcgan", batch=16, steps=3, out=tmp_path / "run", **given)

    def build(options: Options, data: DataSpec) -> Game:
        game = job.loaded.variant.build(options, data)
        adversarial, generator = game.phases

        def with_penalty(networks: Networks, batch: Batch) -> Terms:
            terms = dict(adversarial.loss(networks, batch))
            first = next(iter(terms))
            terms[first] = recording("loss", seen, terms[first])
            discriminator = networks["discriminator"]
            terms["r1"] = squared_gradient_norm(lambda x: recording("penalty", seen, discriminator(x)), batch.images)
            return terms

        def without(networks: Networks, batch: Batch) -> Terms:
            return {name: recording("generator", seen, term) for name, term in generator.loss(networks, batch).items()}

        def generate(networks: Networks, inputs: Mapping[str, Tensor], options: object) -> Tensor:
            images = game.outputs["images"].generate(networks, inputs, options)
            assert isinstance(images, Tensor)
            return recording("samples", seen, images)

        phases = [replace(adversarial, loss=with_penalty), replace(generator, loss=without)]
        return replace(game, phases=phases, outputs={"images": Output(generate=generate)})

    assert (
        start(
            replace(job, loaded=replace(job.loaded, variant=replace(job.loaded.variant, build=build))),
            (),
            Console(quiet=True),
        )
        == "finished"
    )
    assert seen == {
        "loss": {networks},
        "penalty": {penalty},
        "backward of penalty": {penalty},
        "backward of loss": {penalty},  # In one backward with the penalty's.
        "generator": {networks},
        "backward of generator": {networks},
        "samples": {networks},
    }
    metadata = json.loads((tmp_path / "run" / "run.json").read_text())
    assert (metadata["tf32"], metadata["deterministic"]) == (networks == ON, networks == DETERMINISTIC)


@pytest.mark.parametrize("name", ["random", "classifier"])
def test_the_flags_in_feature_spaces_also_while_they_are_trained(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))  # The classifier is trained here.
    monkeypatch.setattr("gan_core.features.training._EPOCHS", 1)
    monkeypatch.setattr("gan_core.features.training._IMAGES", 1)
    data = RealData(make_job(variant="dcgan").dataset, torch.device("cpu"))
    accelerator, console, seen = Accelerator(cpu=True), Console(quiet=True), set[tuple[bool, bool]]()
    hook = torch.nn.modules.module.register_module_forward_hook(lambda *_: seen.add(flags()[:2]))
    try:
        with arithmetic(tf32=True, deterministic=False):
            options = {"min_accuracy": 0.01} if name == "classifier" else {}
            space = load_features(name, options).open(data, accelerator, console)
            assert bool(seen) == (name == "classifier")
            images = torch.zeros(64, 1, 8, 8, dtype=torch.uint8)
            embed(lambda numbers: iter([images]), 64, space, accelerator, what="", console=console)
            assert flags() == ON
    finally:
        hook.remove()
    assert seen == {(False, False)}


def test_a_penalty_outside_of_an_update_forbids_tf32_until_its_scope_ends() -> None:
    with arithmetic(tf32=True, deterministic=False):
        with tf32_restored():
            with precise(torch.device("cpu")):
                assert flags() == OFF
            assert flags() == OFF
        assert flags() == ON


def test_deterministic_changes_no_number_on_a_cpu(train: Callable[..., str], tmp_path: Path) -> None:
    penalised = (*SMALL, "r1=0.5", "discriminator_norm=none")
    for name, given in (("plain", {}), ("set", {"deterministic": True, "tf32": True})):
        train(*penalised, variant="dcgan", batch=32, steps=6, out=tmp_path / name, **given)
    assert difference(weights(tmp_path / "plain"), weights(tmp_path / "set")) == 0.0


def test_layers_without_a_deterministic_algorithm_and_another_workspace_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def compute() -> None:
        pooled, indices = F.max_pool2d(torch.rand(1, 1, 4, 4), 2, return_indices=True)
        F.max_unpool2d(pooled, indices, 2)

    compute()
    named = r"deterministic: torch's max_unpooling2d_forward_out has no deterministic"
    with pytest.raises(UserError, match=named), arithmetic(tf32=False, deterministic=True):
        compute()
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", ":0:0")
    with pytest.raises(UserError, match=r"CUBLAS_WORKSPACE_CONFIG is ':0:0'. Unset it, or set it to :4096:8 or :16:8"):
        start(make_job(variant="dcgan", deterministic=True, out=tmp_path), (), Console(quiet=True))
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG")


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({}, "fp32, no TF32, global batch normalisation"),
        ({"tf32": True}, "fp32, TF32 except in penalties, global batch normalisation"),
        ({"precision": "fp64"}, "fp64, global batch normalisation"),
        ({"deterministic": True}, "fp32, no TF32, deterministic algorithms, global batch normalisation"),
    ],
)
def test_the_plan(given: dict[str, object], said: str) -> None:
    job = make_job("width=4", variant="dcgan", **given)
    assert plan_rows(job, job.build(), 1000)["precision"] == said


def test_run_json_names_the_device_and_a_resume_on_another_says_so(
    run: Path, train: Callable[..., str], capsys: pytest.CaptureFixture[str]
) -> None:
    metadata = json.loads((run / "run.json").read_text())
    cpuinfo = Path("/proc/cpuinfo")
    assert metadata["device"]["type"] == "cpu"
    assert not cpuinfo.exists() or metadata["device"]["name"] in cpuinfo.read_text()

    def resume(steps: int) -> str:
        train(*SMALL, variant="dcgan", batch=32, steps=steps, out=run)
        return capsys.readouterr().err

    assert "note" not in resume(9)
    device = {"type": "cuda", "name": "NVIDIA H100", "CUDA": "12.8", "cuDNN": "91002", "driver": "570.86.15"}
    (run / "run.json").write_text(json.dumps(metadata | {"device": device, "torch": "2.8.0"}))
    said = resume(10)
    assert "note: the run is not continued bit for bit" in said
    for key, value in (device | {"torch": "2.8.0"}).items():
        assert f"{key} {value}, now " in said
    assert json.loads((run / "run.json").read_text())["device"] == metadata["device"]
    assert "note" not in resume(11)


def test_tf32_may_change_on_resume_only_by_name_and_runs_without_the_setting_had_its_default(
    run: Path, train: Callable[..., str]
) -> None:
    config = run / "config.yaml"
    lines = [line for line in config.read_text().splitlines() if not line.startswith(("tf32", "deterministic"))]
    config.write_text("\n".join(lines))
    with pytest.raises(UserError, match=r"tf32 +False in the run, True now"):
        train(*SMALL, variant="dcgan", batch=32, steps=9, out=run, tf32=True)
    assert train(*SMALL, variant="dcgan", batch=32, steps=9, out=run) == "finished"
