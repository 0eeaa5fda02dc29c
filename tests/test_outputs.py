"""Outputs made from real images: what is evaluated, against which images, and how many."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from rich.console import Console

from gan_core.app.evaluating import evaluate_run
from gan_core.app.job import check_evaluation
from gan_core.app.training import start
from gan_core.cli.compare import compare
from gan_core.cli.tables.metrics import print_metrics
from gan_core.console import PlainConsole
from gan_core.errors import UserError
from gan_core.settings.evaluation import EvaluationSettings
from tests.conftest import gan_core, make_job, metrics
from tests.evaluating import QUIET
from tests.test_plugin_loading import install
from tests.translating import CODE, images, install_translator, write_domains, write_pairs

SHORT = ("evaluate_every=1", "evaluate_features=random", "threads=1", "steps=2", "batch=16")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("site")
    install_translator(folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(folder)
        yield folder


def trained(data: str, out: Path, *assignments: str) -> Path:
    start(make_job(*SHORT, *assignments, variant="translator", dataset=data, out=out), (), Console(quiet=True))
    return out


@pytest.fixture(scope="module")
def pairs(site: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("pairs")
    return trained(write_pairs(root / "data"), root / "run")


@pytest.fixture(scope="module")
def domains(site: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("domains")
    return trained(write_domains(root / "data"), root / "run")


def evaluated(run: Path, options: dict[str, object] | None = None, **request: Any) -> dict[str, Any]:
    written = evaluate_run(run, EvaluationSettings(**{"features": "random", **request}), options or {}, QUIET)
    assert written is not None
    return written


def by_hand(drawn: np.ndarray, target: np.ndarray) -> tuple[float, float]:
    """Returns the L1 of values in [-1, 1] and the PSNR in dB, each of one image and then averaged."""
    drawn, target = drawn.astype(float), target.astype(float)
    squared = ((drawn - target) ** 2).mean((1, 2))
    l1 = np.abs((drawn / 127.5 - 1) - (target / 127.5 - 1)).mean((1, 2))
    return float(l1.mean()), float((10 * np.log10(255**2 / squared)).mean())


@pytest.mark.parametrize("shift", [0, 20])
def test_l1_and_psnr_of_pairs_are_those_of_the_files(pairs: Path, shift: int) -> None:
    written = evaluated(pairs, {"shift": shift})
    l1, psnr = by_hand(images(10, 10) + shift, images(10, 11))
    found = written["metrics"]
    assert (found["l1"]["value"], found["psnr"]["value"]) == pytest.approx((l1, psnr), rel=1e-12)
    assert (found["l1"]["samples"], found["psnr"]["samples"]) == (10, 10)
    assert "floor" not in found["l1"]
    assert written["protocol"]["samples"] == 10
    assert (written["protocol"]["output"], written["protocol"]["dataset"][-4:]) == ("b", " (b)")
    assert written["protocol"]["sampling"] == ({"shift": 20} if shift else {})
    assert "Samples are made from 10 of 10 images 'a' of the test split." in written["notes"]


def test_the_mean_training_image_is_scored_beside(site: Path, tmp_path: Path) -> None:
    data = write_pairs(tmp_path / "data")
    for path in (tmp_path / "data" / "B" / "train").iterdir():  # Any of them has the mean of all.
        Image.fromarray(images(1, 5)[0]).save(path)
    drawn, mean, targets = (found.astype(float) for found in (images(10, 10), images(1, 5), images(10, 11)))
    l1, psnr = by_hand(np.repeat(images(1, 5), 10, 0), images(10, 11))
    # The errors of a pair belong together: their difference varies less than either of them.
    gained = (np.abs(mean - targets) - np.abs(drawn - targets)).mean((1, 2)) / 127.5
    assert (
        f"The mean training image, as every sample, has an L1 of {l1:.4g} and a PSNR of {psnr:.4g}. Sample by sample, "
        f"its L1 less that of the sample is {gained.mean():.4f} ± {gained.std(ddof=1) / 10**0.5:.4f}."
        in evaluated(trained(data, tmp_path / "run"))["notes"]
    )


def test_an_image_that_equals_its_target_has_a_psnr_of_100(site: Path, tmp_path: Path) -> None:
    data, root = write_pairs(tmp_path / "data"), tmp_path / "data"
    for path in (root / "A").rglob("*.png"):
        (root / "B" / path.relative_to(root / "A")).write_bytes(path.read_bytes())
    found = evaluated(trained(data, tmp_path / "run"))["metrics"]
    assert (found["l1"]["value"], found["psnr"]["value"], found["psnr"]["error"]) == (0, 100, 0)


def test_training_evaluates_the_first_output_once_for_each_given_image(pairs: Path, domains: Path) -> None:
    l1, psnr = by_hand(images(10, 10), images(10, 11))
    line = next(line for line in metrics(pairs) if "evaluation@10/l1" in line)
    assert (line["evaluation@10/l1"], line["evaluation@10/psnr"]) == pytest.approx((l1, psnr), rel=1e-12)
    line = next(line for line in metrics(domains) if "evaluation@40/kid" in line)
    assert "evaluation@40/l1" not in line
    assert evaluated(domains, samples=10_000)["metrics"]["kid"]["value"] == line["evaluation@40/kid"]


def test_outputs_without_targets_are_judged_against_their_field(domains: Path, capsys: pytest.CaptureFixture) -> None:
    first, second = evaluated(domains), evaluated(domains, output="a")
    assert (first["protocol"]["samples"], second["protocol"]["samples"]) == (40, 24)
    # The test split of b has 24 images, the held-out fold a quarter of at most 90.
    assert (first["protocol"]["compared"], second["protocol"]["compared"]) == (22, 17)
    assert first["protocol"]["data"] != second["protocol"]["data"]
    assert "l1" not in first["metrics"]
    lines = metrics(domains)
    assert {"evaluation@40/kid", "evaluation@40/unique"} <= lines[-2].keys()
    assert {"evaluation@24/a/unique", "evaluation@24/a/coverage"} <= lines[-1].keys()
    print_metrics(second, PlainConsole(table=True))
    assert "Samples are made from 24 of 24 images 'b' of the test split." in capsys.readouterr().out


def test_two_processes_evaluate_as_one(pairs: Path, site: Path) -> None:
    words = ("evaluate", pairs, "--features", "random", "--set", "shift=7", "--json")
    output = gan_core(*words, processes=2, PYTHONPATH=str(site))
    two, one = json.loads(output[output.index("{\n") : output.rindex("}") + 1]), evaluated(pairs, {"shift": 7})
    assert one["protocol"] == two["protocol"]
    assert one["metrics"]["l1"] == two["metrics"]["l1"]
    assert one["metrics"]["psnr"] == two["metrics"]["psnr"]
    assert one["metrics"]["l1"]["value"] == pytest.approx(by_hand(images(10, 10) + 7, images(10, 11))[0], rel=1e-12)


def test_without_a_test_split_the_note_says_what_was_translated(site: Path, tmp_path: Path) -> None:
    run = trained(write_pairs(tmp_path / "data", test=0), tmp_path / "run")
    written = evaluated(run, samples=64)
    assert written["protocol"]["samples"] == 64
    assert (
        "Samples are made from 64 of 80 images 'a' of the train split, which the networks were trained on: there is no "
        "test split."
    ) in written["notes"]


def test_other_outputs_and_other_sampling_options_are_not_compared(domains: Path, tmp_path: Path) -> None:
    other = trained(f"unpaired:{domains.parent / 'data'}", tmp_path / "run", "seed=1")
    evaluated(domains, {"shift": 5})
    evaluated(other)
    with pytest.raises(UserError, match=r"different protocols.*\n  sampling: {'shift': 5.0} and {}\n"):
        compare([domains, other])
    evaluated(domains, output="a")
    with pytest.raises(UserError, match=r"\n  output: 'a' and 'b'\n"):
        compare([domains, other])
    evaluated(domains)
    compare([domains, other])


@pytest.mark.parametrize(
    ("options", "request_", "message"),
    [
        (
            {"shfit": 5},
            {},
            r"no such option of random and no sampling option. Did you mean 'shift'\? Allowed: seed, shift",
        ),
        ({"shift": "far"}, {}, "shift: 'far' is not allowed. It must be a valid number"),
        ({}, {"output": "c"}, r"output: 'c' is no output of this variant.* Allowed: b, a"),
        ({}, {"features": "classifier"}, r"'classifier' needs labels, but .*\(b\)' has none. Use --features random"),
        ({}, {"dataset": "digits"}, r"was trained on other data than 'digits' is now: it had a \(1 x 8 x 8\), b"),
        ({}, {"features": "inception", "protocol": "fid50k"}, "made from 40 images, each once. Omit --protocol"),
    ],
)
def test_errors_name_the_way_out(
    domains: Path, options: dict[str, object], request_: dict[str, Any], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        evaluated(domains, options, **request_)


def test_an_evaluation_while_training_is_checked_before_data_is_read(site: Path, tmp_path: Path) -> None:
    data = write_domains(tmp_path / "data")
    job = make_job("evaluate_every=1", variant="translator", dataset=data, out=tmp_path / "run")
    for check in (lambda: check_evaluation(job, job.build()), lambda: start(job, (), QUIET)):
        with pytest.raises(UserError, match=r"evaluate_features: 'classifier' needs labels, but .* has none"):
            check()
    with pytest.raises(UserError, match=r"keep_lowest: 'evaluation@40/l1' is not a metric of this run"):
        trained(data, tmp_path / "run", "keep_lowest=evaluation@40/l1")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            "like=result",
            'like="c"',
            r"output 'b' is like the images 'c', but '.*' has a \(1 x 8 x 8\), b \(1 x 8 x 8\)",
        ),
        (
            "given=(given,)",
            'given=("images",)',
            r"output 'b' is given 'images', but .* fields that `Variant.needs` has",
        ),
    ],
)
def test_an_output_of_a_field_that_the_data_lacks_is_refused(
    old: str, new: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sys.modules.pop("astray_gan", None)
    install(tmp_path, distribution="astray-gan", name="astray", code=CODE.replace(old, new))
    monkeypatch.syspath_prepend(tmp_path)
    job = make_job(variant="astray", dataset=write_domains(tmp_path / "data"), out=tmp_path / "run")
    with pytest.raises(UserError, match=rf"variant 'astray' \(astray-gan 1.0\): {message}"):
        job.build()
