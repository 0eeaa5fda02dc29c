"""What a variant says of runs and data: defaults of settings, with where each setting comes from, and needed fields."""

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from gan_core.cli.tables.plan import plan_rows
from gan_core.errors import UserError
from gan_core.game.data_spec import DataSpec, Field, ImageField, LabelField, Table
from gan_core.plugins.load import load_variant
from gan_core.settings.settings import DEFAULT_KIMG
from tests.conftest import make_job, metrics
from tests.test_plugin_loading import install

CODE = """
from dataclasses import replace
from gan_core_vanilla import variant as vanilla
variant = replace(vanilla, {changes})
"""


@dataclass
class Site:
    """A folder in which variants are installed."""

    folder: Path
    count: int = 0

    def variant(self, changes: str) -> str:
        """Installs the vanilla GAN with other fields of `Variant`, and returns its name."""
        self.count += 1
        name = f"own{self.count}-{self.folder.name.replace('_', '-')}"
        install(self.folder, distribution=f"{name}-gan", name=name, code=CODE.format(changes=changes))
        return name


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Site:
    monkeypatch.syspath_prepend(tmp_path)
    return Site(tmp_path)


def written(folder: Path, **values: object) -> Path:
    file = folder / "settings.yaml"
    file.write_text(yaml.safe_dump(values))
    return file


def test_files_and_flags_override_a_variant_s_defaults(site: Site) -> None:
    name = site.variant("defaults={'batch': 16, 'ema_kimg': 3, 'clip_norm': 2.0, 'lr_schedule': 'linear'}")
    config = written(site.folder, variant=name, ema_kimg=7, clip_norm=None, epochs=2)
    job = make_job("batch=32", config=config, lr_final=0.5)
    settings = job.settings
    assert (settings.batch, settings.ema_kimg, settings.clip_norm) == (32, 7, None)
    assert (settings.lr_schedule, settings.lr_final, settings.epochs, settings.kimg) == ("linear", 0.5, 2, None)
    said = plan_rows(job, job.build(), 640)["settings"]
    expected = {
        *("epochs 2.0 (file)", "ema_kimg 7.0 (file)", "clip_norm None (file)"),
        *("batch 32 (flag)", "lr_final 0.5 (flag)", "lr_schedule linear (variant)"),
    }
    assert set(said.split(", ")) == expected


def test_settings_of_no_interest_are_not_in_the_plan(site: Site) -> None:
    job = make_job("batch=64", variant="vanilla", accumulate=2)
    assert plan_rows(job, job.build(), 640)["settings"] == "accumulate 2 (flag)"
    job = make_job(variant="vanilla")
    assert plan_rows(job, job.build(), 640)["settings"] == "all defaults"


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, (None, 4, None)),
        ({"epochs": 5}, (None, 5, None)),
        ({"kimg": 9}, (9, None, None)),
        ({"steps": 3}, (None, None, 3)),
    ],
)
@pytest.mark.parametrize("how", ["flag", "file"])
def test_a_length_in_any_unit_overrides_a_variant_s(
    site: Site, how: str, given: dict[str, int], expected: tuple[object, ...]
) -> None:
    name = site.variant("defaults={'epochs': 4}")
    if how == "flag":
        settings = make_job(variant=name, **given).settings
    else:
        settings = make_job(config=written(site.folder, variant=name, **given)).settings
    assert (settings.kimg, settings.epochs, settings.steps) == expected
    assert make_job(variant="vanilla").settings.kimg == DEFAULT_KIMG


@pytest.mark.parametrize(
    ("defaults", "message"),
    [
        (
            "{'ema': 1}",
            r"own1\S* .*its defaults name 'ema'\. Did you mean 'ema_kimg'\? Allowed: kimg, epochs, steps, batch,",
        ),
        ("{'dataset': 'mnist'}", r"own1\S* .*its defaults name 'dataset'\..* Allowed: kimg, epochs, steps, batch,"),
        ("{'batch': 0}", r"own1\S* .*its defaults are not allowed\. batch: 0 is not allowed\. It must be greater than"),
        ("{'kimg': 5, 'steps': 5}", "its defaults name kimg and steps. Allowed: one of kimg, epochs, steps"),
    ],
)
def test_a_default_that_is_not_allowed_is_the_plugin_s_error(site: Site, defaults: str, message: str) -> None:
    name = site.variant(f"defaults={defaults}")
    with pytest.raises(UserError, match=message):
        make_job(variant=name)


def test_a_run_keeps_its_settings_and_resumes(site: Site, train: Callable[..., str]) -> None:
    name = site.variant("defaults={'batch': 16, 'clip_norm': 1.0, 'steps': 2}")
    out = site.folder / "run"
    assert train("width=4", "clip_norm=null", variant=name, out=out) == "finished"
    saved = yaml.safe_load((out / "config.yaml").read_text())
    assert (saved["batch"], saved["clip_norm"], saved["steps"]) == (16, None, 2)
    assert train("width=4", "clip_norm=null", variant=name, out=out, steps=3) == "finished"
    assert train(config=out / "config.yaml", steps=4) == "finished"  # It is not refused, as another norm would be.
    assert [line["images_seen"] for line in metrics(out)][-1] == 64
    # The variant's defaults of today do not change a run that has its own.
    file = next(site.folder.glob("own1*.py"))
    file.write_text(file.read_text().replace("'batch': 16", "'batch': 128"))
    del sys.modules[file.stem]
    assert make_job(variant=name).settings.batch == 128
    assert make_job(config=out / "config.yaml").settings.batch == 16


def data(**tables: dict[str, Field]) -> DataSpec:
    return DataSpec(name="mine", tables={name: Table(fields=fields, count=8) for name, fields in tables.items()})


GREY = ImageField(channels=1, height=8, width=8)
IMAGES = data(images={"images": GREY})
LABELLED = data(images={"images": GREY, "labels": LabelField(classes=3)})
PAIRS = data(pairs={"a": GREY, "b": GREY})
UNPAIRED = data(a={"a": GREY}, b={"b": GREY})


@pytest.mark.parametrize(
    ("needs", "spec", "message"),
    [
        ("('a', 'b')", LABELLED, r"needs the fields a, b, but 'mine' has images \(1 x 8 x 8\), labels \(3 classes\)"),
        ("(('a', 'b'),)", UNPAIRED, "needs the fields a with b, but 'mine' has them in tables whose rows do not"),
        ("(('images', 'labels'),)", IMAGES, "needs labels, but 'mine' has none. Use a data set with labels; an image"),
        ("(('a', 'labels'),)", PAIRS, r"needs the fields a with labels, but 'mine' has a \(1 x 8 x 8\), b"),
    ],
)
def test_a_field_that_is_missing_is_named_with_the_way_out(
    site: Site, needs: str, spec: DataSpec, message: str
) -> None:
    loaded = load_variant(site.variant(f"needs={needs}"))
    with pytest.raises(UserError, match=message) as error:
        loaded.check_fields(spec)
    assert "needs labels" in str(error.value) or "`gan_core list --datasets`" in str(error.value)
    with pytest.raises(UserError, match=message):
        loaded.build(None, spec)


@pytest.mark.parametrize(
    ("needs", "spec"),
    [("('a', 'b')", UNPAIRED), ("('a', 'b')", PAIRS), ("(('a', 'b'),)", PAIRS), ("('images',)", LABELLED)],
)
def test_fields_that_are_there_are_accepted(site: Site, needs: str, spec: DataSpec) -> None:
    load_variant(site.variant(f"needs={needs}")).check_fields(spec)
