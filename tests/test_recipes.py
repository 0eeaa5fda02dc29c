"""Recipes by name, in the package too, and a commented file of all settings that gives the same settings again."""

import json
import zipfile
from collections.abc import Callable
from io import StringIO
from pathlib import Path

import pytest
import torch
import yaml
from rich.console import Console

from gan_core.app.job import as_config, with_variant
from gan_core.cli.recipes import copy, recipes_table
from gan_core.errors import UserError
from gan_core.settings.commented import commented_config
from gan_core.settings.recipes import all_recipes, recipes_folder
from gan_core.settings.resolve import resolve
from gan_core.settings.settings import Settings
from tests.conftest import ROOT, gan_core, make_job
from tests.runs import weights
from tests.test_fresh_environment import build_wheel

NAMES = sorted(path.stem for path in (ROOT / "configs").glob("*.yaml"))


@pytest.mark.parametrize("name", NAMES)
def test_every_recipe_says_what_it_is_how_long_it_takes_and_what_it_reaches(name: str) -> None:
    recipe = next(one for one in all_recipes() if one.name == name)
    first = (ROOT / "configs" / f"{name}.yaml").read_text().splitlines()[0]
    assert recipe.about.startswith(first.removeprefix("# "))
    assert "minute" in recipe.takes or "hour" in recipe.takes
    assert "FID" in recipe.reaches or recipe.reaches in ("not measured", "a first look only")
    assert "Takes" not in recipe.about


def test_the_recipes_of_vanilla_and_dcgan_are_the_same_computation(tmp_path: Path, train: Callable[..., str]) -> None:
    """So what the one was measured to reach holds for the other."""
    for data in ("mnist", "fashion-mnist"):
        vanilla, dcgan = (
            yaml.safe_load((ROOT / "configs" / f"{variant}-{data}.yaml").read_text())
            for variant in ("vanilla", "dcgan")
        )
        assert vanilla == dcgan | {"variant": "vanilla"}
    layers = (
        "generator=[{dense: 16}, batch_norm, relu, {dense: 64}, {reshape: [1, 8, 8]}, tanh]",
        "discriminator=[{conv: {channels: 2, kernel: 3, stride: 2}}, {leaky_relu: 0.2}, flatten, {dense: 1}]",
    )
    same = ("latent=8", "discriminator_norm=none", "r1=1", "lr=0.002", "beta1=0", *layers)
    for variant in ("vanilla", "dcgan"):
        train(*same, variant=variant, batch=8, steps=3, out=tmp_path / variant)
    found, expected = weights(tmp_path / "vanilla"), weights(tmp_path / "dcgan")
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[name], expected[name]) for name in expected)


def test_recipes_are_listed_copied_and_taken_by_name(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert [row["name"] for row in json.loads(gan_core("recipes", "--json"))] == NAMES
    narrow = Console(width=80, file=StringIO())
    narrow.print(recipes_table(all_recipes()))
    lines = narrow.file.getvalue().splitlines()
    assert {line.split(" ")[0] for line in lines} == {"recipe", "", *NAMES}  # No name is broken.
    copied = tmp_path / "mine.yaml"
    copy("acgan-digits", out=copied)
    assert f"--config {copied}" in capsys.readouterr().out
    assert copied.read_bytes() == (ROOT / "configs" / "acgan-digits.yaml").read_bytes()
    with pytest.raises(UserError, match="already exists"):
        copy("acgan-digits", out=copied)
    with pytest.raises(UserError, match="Did you mean 'acgan-digits'"):
        copy("acgan-digit")


def test_a_file_of_that_name_wins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    by_name = resolve({}, config=Path("dcgan-digits"))
    assert by_name == resolve({}, config=Path("dcgan-digits.yaml"))
    assert by_name == resolve({}, config=ROOT / "configs" / "dcgan-digits.yaml")
    assert by_name.settings.kimg == 400
    (tmp_path / "dcgan-digits").write_text("variant: dcgan\nkimg: 3\n")
    assert resolve({}, config=Path("dcgan-digits")).settings.kimg == 3
    with pytest.raises(UserError, match=r"no such file, and 'dcgan-digit' is no recipe\. Did you mean 'dcgan-digits'"):
        resolve({}, config=Path("dcgan-digit"))


def test_the_wheel_has_the_recipes_and_the_pages_of_reports(tmp_path: Path) -> None:
    build_wheel(ROOT, tmp_path)
    (wheel,) = tmp_path.glob("*.whl")
    names = set(zipfile.ZipFile(wheel).namelist())
    assert {f"gan_core/recipes/{name}.yaml" for name in NAMES} <= names
    assert {f"gan_core/report/page/report.{kind}" for kind in ("html.j2", "css", "js")} <= names
    assert recipes_folder() == ROOT / "configs"  # Where it is not installed from a wheel.


@pytest.mark.parametrize(
    ("config", "assignments", "flags"),
    [
        ("acgan-digits", (), {}),
        ("tutorial-vanilla-mnist", ("initialisation=normal",), {"evaluate_every": 3}),
        (None, (), {"variant": "cyclegan", "dataset": "unpaired:nowhere"}),
    ],
)
def test_the_printed_settings_give_the_same_settings_again(
    config: str | None, assignments: tuple[str, ...], flags: dict[str, object], tmp_path: Path
) -> None:
    loaded, resolved, options = with_variant(resolve(flags, assignments, Path(config) if config else None))
    text = commented_config(as_config(resolved.settings, options), loaded.variant.options)
    (tmp_path / "printed.yaml").write_text(text)
    _, again, same_options = with_variant(resolve({}, config=tmp_path / "printed.yaml"))
    assert again.settings == resolved.settings
    assert same_options == options
    values = yaml.safe_load(text)
    assert set(values) == {*Settings.model_fields, "options"}
    assert set(values["options"]) == set(loaded.variant.options.model_fields)
    comments = [line for line in text.splitlines() if line.lstrip().startswith("#")]
    assert len(comments) > len(values) + len(values["options"])
    assert "# How the learning rates fall between lr_decay_from and the end of the run." in text


def test_train_prints_them(tmp_path: Path) -> None:
    text = gan_core("train", "--config", "acgan-digits", "--kimg", 7, "--print-config")
    (tmp_path / "printed.yaml").write_text(text)
    assert make_job(config=tmp_path / "printed.yaml").config() == yaml.safe_load(text)
    assert yaml.safe_load(text)["kimg"] == 7
