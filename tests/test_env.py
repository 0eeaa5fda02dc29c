"""`gan_core env`: what it prints is what Python and the environment say, and nothing that is broken stops it."""

import json
import os
import platform
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import psutil
import pytest
import torch

from gan_core.cli.env import env
from gan_core.distributed import hardware
from gan_core.distributed.launcher import requested_processes
from tests.conftest import gan_core
from tests.test_plugin_loading import install


def installed(distribution: str) -> str:
    try:
        return version(distribution)
    except PackageNotFoundError:
        return "not installed"


def test_the_report_as_json(tmp_path: Path) -> None:
    install(tmp_path, distribution="needy-gan", name="needy", code="raise SystemExit", requires=("gan-core>=9",))
    config = tmp_path / "accelerate" / "default_config.yaml"
    config.parent.mkdir()
    config.write_text("num_processes: 3\nhub_token: hf_hidden\n")
    secrets = {"WANDB_API_KEY": "hidden", "HF_TOKEN": "hidden", "NCCL_TOKEN": "hidden", "ACCELERATE_PASSWORD": "hidden"}
    shown = {"NCCL_DEBUG": "WARN", "WANDB_MODE": "offline", "OMP_NUM_THREADS": "1", "MASTER_ADDR": "10.0.0.7"}
    output = gan_core("env", "--json", PYTHONPATH=str(tmp_path), HF_HOME=str(tmp_path), **secrets, **shown)
    assert "hidden" not in output
    report = json.loads(output)
    assert report["variables"].items() >= shown.items()
    assert not report["variables"].keys() & {"PATH", "HOME", *secrets}
    assert report["accelerate_config"] == {"num_processes": 3}

    versions = report["versions"]
    assert versions.pop("python") == platform.python_version()
    assert versions.pop("platform") == platform.platform()
    assert versions.pop("gan_core") == version("gan-core")
    assert versions == {name: installed(name) for name in versions}
    assert {"torch", "torchvision", "accelerate", "numpy", "pydantic", "typer", "rich", "wandb"} <= versions.keys()
    assert {"safetensors", "scikit-learn"} <= versions.keys()

    assert report["machine"]["CPU cores"] == psutil.cpu_count()
    assert report["machine"]["memory"].startswith(f"{psutil.virtual_memory().total / 1024**3:.1f} GiB")
    assert report["torch"]["built with CUDA"] == (torch.version.cuda or "no")
    assert report["torch"]["threads"] == 1
    assert [key for key in report["torch"] if key.startswith("cuda:")] == [
        f"cuda:{index}" for index in range(torch.cuda.device_count())
    ]
    assert report["variants"]["needy-gan:needy"] == "1.0, installed: needs gan-core>=9, but 0.1.0 is installed"
    assert report["variants"]["gan-core-dcgan:dcgan"].endswith(": ok")
    assert report["data_sets"].keys() >= {"gan-core:mnist", "gan-core:folder"}
    assert report["feature_spaces"].keys() >= {"gan-core:classifier", "gan-core:random"}


def test_a_torch_that_cannot_be_imported_and_garbage_in_a_plugin_s_metadata_are_reported(tmp_path: Path) -> None:
    (tmp_path / "torch.py").write_text("raise ImportError('libcudart.so.13: cannot open shared object file')")
    install(tmp_path, distribution="garbage-gan", name="garbage")
    with (tmp_path / "garbage_gan-1.0.dist-info" / "METADATA").open("ab") as metadata:
        metadata.write(b"\xff")
    (tmp_path / "accelerate").mkdir()
    (tmp_path / "accelerate" / "default_config.yaml").write_text("a: b: c")
    output = gan_core("env", PYTHONPATH=str(tmp_path), HF_HOME=str(tmp_path))
    assert "cannot be imported  ImportError: libcudart.so.13: cannot open shared object file" in output
    assert "variants\n  cannot be read  UnicodeDecodeError: " in output
    assert "accelerate config\n  error  " in output
    assert "default_config.yaml' cannot be read: mapping values are not allowed here" in output
    assert "gan-core:classifier" in output
    assert "Traceback" not in output


@pytest.mark.parametrize(
    "content", ["hub_token: hf_hidden: x", "a: 1\na: 2", "b: &x [1]\na: *x", "#" * 100_001, "pipe", None]
)
def test_a_config_of_accelerate_that_is_not_as_it_writes_it_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], content: str | None
) -> None:
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    config = tmp_path / "accelerate" / "default_config.yaml"
    config.parent.mkdir()
    if content == "pipe":
        os.mkfifo(config)
    elif content is None:
        config.mkdir()
    else:
        config.write_text(content)
    env(as_json=True)
    shown = json.loads(capsys.readouterr().out)["accelerate_config"]
    assert shown.keys() == {"error"}
    assert "default_config.yaml' cannot be read" in shown["error"]
    assert "hidden" not in shown["error"]
    assert requested_processes(["accelerate", "launch", "-m", "gan_core", "train"]) == 1


def test_what_is_missing_is_not_installed(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "path", [])
    for name in [name for name in os.environ if name.startswith(("NCCL", "ACCELERATE", "XDG", "OMP"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HF_HOME", "nowhere")
    env(as_json=False)
    lines = capsys.readouterr().out.splitlines()
    assert "  wandb           not installed" in lines
    assert {"accelerate config: none", "variants: none", "data sets: none", "feature spaces: none"} <= set(lines)


@pytest.mark.parametrize(
    ("text", "version"),
    [
        (
            "NVRM version: NVIDIA UNIX x86_64 Kernel Module  535.104.05  Sat Aug 19\nGCC version: 12.3.0 \n",
            "535.104.05",
        ),
        ("NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  580.65.06  Release Build\n", "580.65.06"),
        ("", None),
    ],
)
def test_the_version_of_nvidia_s_driver(text: str, version: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hardware, "_read", lambda path: text)
    assert hardware.nvidia_driver() == version
