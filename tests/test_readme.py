"""Every command that the documents show is run, and the README's plugin is installed and trained."""

import os
import re
import shlex
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from gan_core.testing import Check
from tests import forked
from tests.conftest import ROOT, gan_core
from tests.test_data import picture
from tests.test_plugin_loading import install

README = (ROOT / "README.md").read_text()


def commands(text: str) -> list[str]:
    """Returns the lines of a document's shell blocks, without comments."""
    blocks = re.findall(r"```sh\n(.*?)```", text, flags=re.DOTALL)
    lines = [re.sub(r"\s+#.*|^#.*", "", line).strip() for block in blocks for line in block.splitlines()]
    return [line for line in lines if line]


def run_in_order(lines: list[str], folder: Path, site: Path | None = None) -> None:
    """Runs shell lines in a folder that looks like the checkout, each training for two steps only.

    What they install goes to `site`, not into the environment of the tests.
    """
    for name in ("configs", "launch"):
        if not (folder / name).exists():
            (folder / name).symlink_to(ROOT / name)
    for line in lines:
        short = re.sub(r"--kimg \S+", "--steps 2", line)
        flags = f"--quiet --no-deps --no-build-isolation --upgrade --target {site}"
        short = short.replace("pip install -e ", f"python -m pip install {flags} ./")
        short = re.sub(r"gan_core bench", "gan_core bench --rounds 1 --seconds 0.01", short)
        if "gan_core train" in short and "--steps" not in short:
            short += " --steps 2"
        done = run_line(short, folder, site)
        assert done.returncode == 0, f"{short}\n{done.stdout}{done.stderr}"
        if "--config_file" in line and "cpu-1.yaml" not in line:  # accelerate has nothing to warn of.
            assert "The following values were not passed to `accelerate launch`" not in done.stdout + done.stderr


def run_line(line: str, folder: Path, site: Path | None) -> subprocess.CompletedProcess[str]:
    """Runs a shell line; its processes of Python are forked from one that has imported torch."""
    path = f"{forked.stand_ins()}:{Path(forked.PYTHON).parent}:{os.environ['PATH']}"
    environment = os.environ | {"PATH": path, "PYTHONPATH": str(site or "")}
    return subprocess.run(
        line, shell=True, cwd=folder, env=environment, capture_output=True, text=True, timeout=300, check=False
    )


def test_the_readme_s_commands(tmp_path: Path) -> None:
    lines = commands(README)
    ours = [
        line
        for line in lines
        if re.search(r"gan_core (train|sample|movie|report|export|recipes|evaluate|compare|list|show|runs|bench)", line)
    ]
    assert len(ours) == 20
    run_in_order(ours, tmp_path)
    assert (tmp_path / "runs" / "dcgan-digits" / "samples" / "000000128.png").exists()
    assert (tmp_path / "samples.npz").stat().st_size > 10_000 * 64
    assert (tmp_path / "grid.png").exists()
    for name in ("movie.gif", "report.html", "export-safetensors/generator.py"):
        assert (tmp_path / "runs" / "narrow" / name).exists()


def test_the_readme_s_python_is_what_it_says(tmp_path: Path) -> None:
    code = next(
        block for block in re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL) if "gan_core.load" in block
    )
    short = code.replace("kimg=200", "steps=20").replace("samples=2000", 'samples=128, features="random"')
    check = "\nassert images.shape == (16, 1, 8, 8) and not generator.training and len(losses) == 2"
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [forked.PYTHON, "-c", short + check], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert re.search(r"<Run 'runs/python': finished> \d\S+ real images: \S+$", done.stdout)


def test_where_launching_is_explained_each_command_has_its_file() -> None:
    section = README.partition("\n## Launching\n")[2].partition("\n## ")[0]
    launched = [line for line in commands(section) + commands((ROOT / "launch" / "README.md").read_text())
        if line.startswith("accelerate")]  # fmt: skip
    assert len(launched) == 8
    assert all("--config_file launch/" in line for line in launched)


def test_the_commands_of_the_other_documents(tmp_path: Path) -> None:
    for document in ("launch/README.md",):
        lines = commands((ROOT / document).read_text())
        assert lines
        run_in_order(lines, tmp_path)


def test_the_commands_on_own_pictures(tmp_path: Path) -> None:
    lines = commands((ROOT / "gan_core" / "data" / "README.md").read_text())
    assert len(lines) == 5
    for number in range(16):
        picture(tmp_path / "pictures" / ("cat", "dog")[number % 2] / f"{number}.png", size=(64, 64), seed=number)
    small = " --batch 8 --set width=4"
    run_in_order([line + small if "gan_core train" in line else line for line in lines], tmp_path)
    for name in ("sheet.png", "pictures.zip", "runs/pictures/run.json", "cats.png"):
        assert (tmp_path / name).is_file()


def test_the_plugin_tutorial_from_an_empty_folder_to_a_wandb_run(tmp_path: Path) -> None:
    tutorial = (ROOT / "plugins" / "README.md").read_text().partition("\n## A data set\n")[0]
    listing = re.findall(r"```python\n(.*?)```", tutorial, flags=re.DOTALL)[0]
    lines = commands(tutorial)
    place = lines.index("python -m gan_core show hinge --dataset mnist")
    site = tmp_path / "site"
    run_in_order(lines[:place], tmp_path, site)
    (tmp_path / "gan-core-hinge" / "gan_core_hinge.py").write_text(listing)
    # An editable install would see the change by itself.
    run_in_order(["pip install -e gan-core-hinge", *lines[place:]], tmp_path, site)
    assert list((tmp_path / "runs" / "hinge").glob("wandb/offline-run-*"))
    assert (tmp_path / "hinge.png").exists()
    assert "class Hinge:" in (site / "gan_core_hinge.py").read_text()


@pytest.mark.parametrize("name", ["repaint", "replay"])
def test_the_variants_of_the_tutorial_s_chapters_keep_the_promises(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    listings = re.findall(r"```python\n(.*?)```", (ROOT / "plugins" / "README.md").read_text(), flags=re.DOTALL)
    code = next(code for code in listings if code.startswith(f'"""{name.capitalize()}: '))
    install(tmp_path, distribution=f"{name}-gan", name=name, code=code)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    for check in ("draws_images", "learns_what_it_names", "trains_the_same_anywhere"):
        Check(name, check)()


def test_the_chapter_on_data_sets(tmp_path: Path) -> None:
    text = (ROOT / "plugins" / "README.md").read_text().partition("\n## A data set\n")[2].partition("\n## ")[0]
    (listing,) = re.findall(r"```python\n(.*?)```", text, flags=re.DOTALL)
    before, after = (commands(part) for part in text.split(listing))
    site = tmp_path / "site"
    run_in_order(before, tmp_path, site)
    (tmp_path / "gan-core-array" / "gan_core_array.py").write_text(listing)
    # An editable install would see the change by itself.
    run_in_order(["pip install -e gan-core-array", *after], tmp_path, site)
    assert "array:FILE" in run_line("python -m gan_core list --datasets", tmp_path, site).stdout
    assert (tmp_path / "runs" / "dcgan-noise.npy" / "run.json").exists()


RESULTS = (ROOT / "configs" / "README.md").read_text()
TABLE = RESULTS.partition("## What the recipes reach")[2].partition("\n## ")[0]
ROWS = re.findall(r"^\| `--config configs/(.+?)\.yaml(?: --(\w+) \d+)?`[ ²³⁴]*\|", TABLE, flags=re.MULTILINE)


def test_every_variant_has_a_row_for_mnist() -> None:
    assert {f"{name}-mnist" for name in ("vanilla", "dcgan", "acgan", "lsgan", "wgan")} <= {row for row, _ in ROWS}


@pytest.mark.parametrize(("row", "length"), ROWS)
def test_the_recipes_of_the_table_train(
    row: str, length: str, mnist_root: Path, train: Callable[..., str], tmp_path: Path
) -> None:
    if "fashion" in row and not (mnist_root / "FashionMNIST").exists():
        pytest.skip("needs Fashion-MNIST: it is not beside MNIST in GAN_CORE_DATA")
    config = ROOT / "configs" / f"{row}.yaml"
    short = {"kimg": 0.008} if length == "kimg" else {"steps": 1}
    assert train(config=config, data_dir=mnist_root, batch=8, threads=1, out=tmp_path, **short) == "finished"


def test_make_does_what_the_plain_lines_say() -> None:
    """Both run in CI and by hand; here their recipes are compared with the lines that stand beside them."""
    lines = commands(README)
    for target in ("train", "test"):
        assert f"make {target}" in lines
        done = subprocess.run(
            ["make", "-n", "-B", target, "VENV=/nowhere"], cwd=ROOT, capture_output=True, text=True, check=True
        )
        recipe = [line.replace("/nowhere/bin/", "") for line in done.stdout.splitlines()]
        main = {"train": "accelerate launch", "test": "python -m pytest"}[target]
        assert next(line for line in lines if line.startswith(main)) in recipe
        assert any("pip install" in line and "--requirement requirements.txt" in line for line in recipe)
    assert "pip install -r requirements.txt" in lines
    contributing = commands((ROOT / "CONTRIBUTING.md").read_text())
    phony = re.search(r"\.PHONY: (.*)", (ROOT / "Makefile").read_text())
    assert phony is not None
    assert {shlex.split(line)[1] for line in contributing} <= set(phony[1].split())


def test_after_make_the_environment_is_activated_and_pip_shows_its_progress() -> None:
    lines = commands(README)
    activated = lines.index(". .venv/bin/activate")
    assert lines.index("make train") < activated < next(at for at, line in enumerate(lines) if "-m gan_core" in line)
    (install,) = re.findall(r"pip install.*", (ROOT / "Makefile").read_text())
    assert not {"--quiet", "-q", "--progress-bar"} & set(install.split())


def test_the_readme_s_plugin_trains(tmp_path: Path) -> None:
    code = next(block for block in re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL) if "Hinge" in block)
    install(tmp_path, distribution="gan-core-hinge", name="hinge", code=code)
    path = {"PYTHONPATH": str(tmp_path)}
    output = gan_core(
        "train", "--variant", "hinge", "--steps", 3, "--set", "width=8", "--out", tmp_path / "run", processes=2, **path
    )
    assert "finished at 0.192 kimg" in output
    assert "Units in the hidden layer" in gan_core("show", "hinge", **path)


def test_the_readme_s_plugin_is_packaged_as_it_says() -> None:
    import tomllib

    text = next(block for block in re.findall(r"```toml\n(.*?)```", README, flags=re.DOTALL))
    project = tomllib.loads(text)["project"]
    assert project["entry-points"]["gan_core.variants"] == {"hinge": "gan_core_hinge:variant"}
    assert project["dependencies"] == ["gan-core>=0.1,<0.2"]


@pytest.mark.parametrize("path", sorted(p.relative_to(ROOT) for p in ROOT.rglob("*.py") if ".venv" not in p.parts))
def test_no_file_is_over_400_lines(path: Path) -> None:
    assert len((ROOT / path).read_text().splitlines()) <= 400


@pytest.mark.parametrize("name", ["lsgan", "wgan"])
def test_variants_on_other_networks_stay_short(name: str) -> None:
    module = ROOT / "plugins" / f"gan-core-{name}" / f"gan_core_{name}.py"
    assert len(module.read_text().splitlines()) < 150


@pytest.mark.parametrize(
    "document", sorted(p.relative_to(ROOT) for p in ROOT.glob("**/README.md") if ".venv" not in p.parts)
)
def test_every_picture_and_link_in_a_readme_is_there(document: Path) -> None:
    text = re.sub(r"```.*?```", "", (ROOT / document).read_text(), flags=re.DOTALL)  # Code has no links.
    links = re.findall(r"\]\((?!https?:)([^)#]+)\)", text)
    for link in links:
        assert (ROOT / document.parent / link).exists(), link
