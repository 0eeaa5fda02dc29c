"""Slow: a stranger's plugin in an environment where nothing but wheels was ever installed, and plugins that go away."""

import json
import os
import subprocess
import sys
import venv
from pathlib import Path

import pytest

from gan_core.testing.checks import CHECKS
from tests.conftest import ROOT, gan_core, metrics

pytestmark = pytest.mark.slow


def build_wheel(source: Path, wheels: Path) -> None:
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(wheels), str(source)]
    subprocess.run(command, check=True, capture_output=True)


def test_a_stranger_s_wheel_and_what_is_left_when_a_plugin_goes(tmp_path: Path) -> None:
    wheels = tmp_path / "wheels"
    gan_core("new", "stranger", "--dir", tmp_path)
    for source in (ROOT, tmp_path / "gan-core-stranger", *sorted((ROOT / "plugins").glob("gan-core-*"))):
        build_wheel(source, wheels)
    assert len(list(wheels.iterdir())) == 8
    venv.create(tmp_path / "venv", with_pip=True)
    python = str(tmp_path / "venv" / "bin" / "python")
    clean = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}

    def run(*words: object, expect: int = 0) -> str:
        done = subprocess.run(
            [python, *map(str, words)],
            cwd=tmp_path,
            env=clean,
            capture_output=True,
            text=True,
            check=False,
            timeout=900,
        )
        assert done.returncode == expect, done.stdout + done.stderr
        return done.stdout + done.stderr

    def statuses() -> dict[str, str]:
        return {row["name"]: row["status"] for row in json.loads(run("-m", "gan_core", "list", "--json"))}

    run("-m", "pip", "install", "--quiet", *sorted(wheels.iterdir()))
    variants = {"acgan", "began", "biggan", "cgan", "dcgan", "infogan", "lsgan", "stranger", "vanilla", "wgan"}
    variants |= {"cyclegan", "pix2pix", "r3gan", "stylegan2"}
    assert statuses() == dict.fromkeys(variants, "ok")
    output = run("-m", "gan_core", "check", "stranger")
    assert output.count("ok  ") == len(CHECKS)
    assert "finished" in run("-m", "gan_core", "train", "--variant", "stranger", "--steps", 3, "--out", "run")
    run("-m", "gan_core", "sample", "run", "--count", 4, "--out", "grid.png")
    assert (tmp_path / "grid.png").exists()
    run("-m", "gan_core", "new", "another")
    assert (tmp_path / "gan-core-another" / "tests" / "test_conformance.py").exists()

    run("-m", "pip", "uninstall", "--quiet", "--yes", "gan-core-dcgan")
    missing = "needs gan-core-dcgan<0.2,>=0.1, which is not installed"
    assert statuses() == dict.fromkeys(variants - {"dcgan"}, "ok") | {"lsgan": missing, "wgan": missing}
    refused = run("-m", "gan_core", "train", "--variant", "lsgan", "--steps", 1, expect=2)
    assert f"variant 'lsgan' (gan-core-lsgan 0.1.0) {missing}" in refused
    for name in ("vanilla", "acgan", "stranger"):
        run("-m", "gan_core", "train", "--variant", name, "--steps", 1)
    run("-m", "pip", "install", "--quiet", "--no-index", "--find-links", wheels, "gan-core-dcgan")
    run("-m", "pip", "uninstall", "--quiet", "--yes", "gan-core-vanilla")
    assert statuses() == dict.fromkeys(variants - {"vanilla"}, "ok")


@pytest.mark.parametrize("processes", [1, 2])
@pytest.mark.parametrize(
    "variant", ["vanilla", "dcgan", "acgan", "lsgan", "wgan", "began", "biggan", "cgan", "infogan"]
)
def test_every_variant_trains_300_steps_on_mnist(
    variant: str, processes: int, mnist_root: Path, tmp_path: Path
) -> None:
    flags = ("--variant", variant, "--dataset", "mnist", "--data-dir", mnist_root, "--steps", 300)
    narrow = () if variant in ("vanilla", "cgan") else ("--set", "width=16")
    output = gan_core(
        "train", *flags, *narrow, "--out", tmp_path / "run", processes=processes, launched=True, timeout=900
    )
    assert "finished at " in output
    lines = metrics(tmp_path / "run")
    assert lines[-1]["step"] == 300
    assert all(abs(value) < 1e6 for line in lines for value in line.values())
