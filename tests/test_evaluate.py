"""`gan_core evaluate`: equal metrics on any number of processes, its output, skipped metrics and errors."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from gan_core.app.evaluating import evaluate_run
from gan_core.app.load import load_run
from gan_core.errors import UserError
from gan_core.runs.folder import RunFolder
from gan_core.settings.evaluation import EvaluationSettings
from tests.conftest import gan_core, metrics
from tests.evaluating import QUIET, ImageSource, evaluate_source, real_data, reference_of

SHORT = ("--set", "width=8", "--set", "threads=1", "--set", "log_every=0.64", "--batch", 64)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A short run of AC-GAN on digits."""
    out = tmp_path_factory.mktemp("run") / "acgan"
    gan_core("train", "--variant", "acgan", "--dataset", "digits", *SHORT, "--steps", 20, "--out", out)
    return out


def evaluated(run: Path, *, samples: int = 300, features: str = "random", **request: Any) -> dict[str, Any]:
    options = request.pop("options", {})
    written = evaluate_run(run, EvaluationSettings(samples=samples, features=features, **request), options, QUIET)
    assert written is not None
    return written


def numbers(metrics: dict[str, Any]) -> dict[str, float]:
    """Flattens nested metrics to numbers by path."""
    flat: dict[str, float] = {}

    def walk(path: str, value: Any) -> None:
        if isinstance(value, dict):
            for key, inner in value.items():
                walk(f"{path}.{key}", inner)
        elif isinstance(value, list):
            for at, inner in enumerate(value):
                walk(f"{path}.{at}", inner)
        elif not isinstance(value, str):
            flat[path] = float(value)

    walk("", metrics)
    return flat


def test_two_processes_agree_with_one_and_json_equals_the_file(run: Path) -> None:
    # 297 of 300 samples are compared; both processes draw some of these.
    words = ("evaluate", run, "--samples", 300, "--small-fid", "--json")
    one, two = (
        json.loads(output[output.index("{\n") : output.rindex("}") + 1])
        for output in (gan_core(*words, processes=processes) for processes in (1, 2))
    )
    assert json.loads((run / "evaluation.json").read_text()) == two
    assert one["protocol"] == two["protocol"]
    assert one["protocol"]["samples"] == 300
    first, second = numbers(one["metrics"]), numbers(two["metrics"])
    assert {".fid.value", ".kid.error", ".coverage.floor.value", ".agreement_by_class.value.9"} <= first.keys()
    assert first.keys() == second.keys()
    for key, value in first.items():
        # Equal up to rounding of sums. With another number of threads per process, pixels could round differently.
        assert second[key] == pytest.approx(value, rel=1e-9, abs=1e-9), key


def test_metrics_depend_on_the_seed_and_are_reproducible(run: Path) -> None:
    first, again, other = (evaluated(run, seed=seed)["metrics"] for seed in (0, 0, 1))
    assert first == again
    assert first["kid"]["value"] != other["kid"]["value"]
    assert first["kid"]["floor"] == other["kid"]["floor"]


def test_sample_i_does_not_depend_on_the_number_of_samples(run: Path) -> None:
    sampler = load_run(run).sampler(3)
    drawn = sampler.draw_all(200)
    fours = sampler.draw_all(128, label=4)
    assert not torch.equal(fours[:64], fours[64:])
    labels = sampler.labels(256)
    assert labels is not None
    for number in (2, 0):
        block = sampler.block(number, labels[64 * number : 64 * number + 64])
        assert torch.equal(block[:8], drawn[64 * number : 64 * number + 8])


def test_labels_are_as_frequent_as_in_training(run: Path) -> None:
    requested = []

    class Recording(ImageSource):
        def block(self, number: int, labels: torch.Tensor | None) -> torch.Tensor:
            requested.append((number, labels))
            return super().block(number, labels)

    data = real_data("digits")
    source = Recording(torch.zeros(1, 1, 8, 8, dtype=torch.uint8), classes=10)
    evaluate_source(source, 1203, reference_of(data, "random"))
    labels = torch.cat([labels for _, labels in dict(requested).items() if labels is not None])
    assert sorted(labels[:1203].tolist()) == sorted(data.train.labels.tolist())  # type: ignore[union-attr]


def test_fid_of_few_samples_is_skipped_and_reduced_counts_are_noted(run: Path) -> None:
    written = evaluated(run, samples=500)
    assert written["metrics"]["fid"]["skipped"] == (
        "on 297 samples, fewer than 2,000, FID is mostly bias. Pass --small-fid to compute it anyway"
    )
    assert written["metrics"]["kid"]["samples"] == 297
    assert written["metrics"]["unique"]["samples"] == 500
    assert written["notes"][0] == (
        "297 of 500 samples are compared with 297 real images: the test split has 297, the held-out fold 297."
    )
    assert evaluated(run, samples=500, small_fid=True)["metrics"]["fid"]["samples"] == 297


def test_unavailable_metrics_are_skipped_with_the_reason(run: Path) -> None:
    metrics = evaluated(run)["metrics"]
    assert metrics["modes"] == {"skipped": "the feature space 'random' does not predict classes"}
    metrics = evaluated(run, features="inception")["metrics"]
    assert (
        metrics["fid"] == metrics["modes"] == {"skipped": "inception needs its weights file. Pass --set weights=FILE"}
    )
    assert metrics["unique"]["value"] > 0
    reference = reference_of(real_data("digits"), "random")
    found = evaluate_source(ImageSource(torch.zeros(1, 1, 8, 8, dtype=torch.uint8)), 15, reference, with_gan_train=True)
    assert found.fakes.skipped["kid"] == "needs at least 20 fakes and as many real images, has 15"
    assert found.fakes.skipped["gan_train"] == "the generator is not conditional"


def test_the_table_has_the_floor_below_each_metric_and_the_protocol(run: Path) -> None:
    output = gan_core("evaluate", run, "--samples", 300, "--features", "random")
    lines = [line.rstrip() for line in output.splitlines()]
    assert "expected kl" not in output  # This feature space has none.
    written = json.loads((run / "evaluation.json").read_text())
    at = next(number for number, line in enumerate(lines) if line.startswith("coverage"))
    hash_ = written["protocol"]["features_hash"][:8]
    for line, metric in ((lines[at], written["metrics"]["coverage"]),):
        assert line.split() == ["coverage", f"{metric['value']:.4g}", "297", "random", hash_]
    assert lines[at + 1].split() == [
        "real",
        "images",
        f"{written['metrics']['coverage']['floor']['value']:.4g}",
        "297",
        "random",
        hash_,
    ]
    assert any(line.startswith("FID ") and "skipped: on 297 samples" in line for line in lines)
    assert "untrained network, for ranking only" in output


def test_metrics_are_logged_and_dropped_by_a_resume_from_earlier(run: Path) -> None:
    written = evaluated(run)
    folder = RunFolder(run)
    line = metrics(run)[-1]
    assert line["images_seen"] == written["images_seen"] == 1280
    assert line["evaluation@300/coverage"] == written["metrics"]["coverage"]["value"]
    assert not any(isinstance(value, list | str) for value in line.values())
    assert (run / "evaluation-closest.png").exists()
    folder.rewind_metrics(1280)
    assert metrics(run)[-1] == line
    folder.rewind_metrics(1279)
    kept = metrics(run)
    assert kept
    assert not any(key.startswith("evaluation") for each in kept for key in each)


def test_data_that_differs_from_the_run_s_is_refused(run: Path, tmp_path: Path) -> None:
    copy = tmp_path / "run"
    copy.mkdir()
    for name in ("config.yaml", "checkpoints"):
        (copy / name).symlink_to(run / name)
    metadata = RunFolder(run).read_metadata()
    metadata["data"]["images"]["fingerprint"] = "0" * 64
    RunFolder(copy).write_metadata(**metadata)
    with pytest.raises(UserError, match="was trained on other data than 'digits' is now"):
        evaluated(copy)


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        ({"features": "clasifier"}, "no feature space named 'clasifier' is installed. Did you mean 'classifier'?"),
        ({"options": {"sed": 1}}, "sed: no such option of random. Did you mean 'seed'? Allowed: seed"),
        (
            {"features": "classifier", "options": {"min_accuracy": 0.9999}},
            "below the minimum of 99.99%",
        ),
        ({"run": Path("nowhere")}, "'nowhere' is not a run: it has no config.yaml"),
    ],
)
def test_errors_for_invalid_input_name_the_fix(run: Path, request_: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError) as error:
        evaluated(**({"run": run} | request_))
    assert message in str(error.value)


def test_the_command_line_passes_options_and_exits_with_2(run: Path) -> None:
    output = gan_core("evaluate", run, "--features", "random", "--set", "sed=1", expect=2)
    assert output == "error: sed: no such option of random. Did you mean 'seed'? Allowed: seed\n"
