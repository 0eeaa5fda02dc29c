"""Evaluation on a folder of one's own: with labels that can be read or not, without labels, and its cache."""

import json
import resource
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from rich.console import Console

from gan_core.app.evaluating import evaluate_run
from gan_core.app.job import check_evaluation
from gan_core.app.training import start
from gan_core.cli.compare import compare
from gan_core.cli.tables.metrics import print_metrics
from gan_core.console import PlainConsole
from gan_core.data.dataset import Rows
from gan_core.errors import UserError
from gan_core.features.classifier import ClassifierOptions, open_classifier
from gan_core.features.space import unreliable
from gan_core.settings.evaluation import EvaluationSettings
from tests.conftest import make_job, metrics
from tests.evaluating import QUIET, real_data

SHORT = ("evaluate_every=1", "evaluate_samples=64", "steps=2", "batch=16", "width=8")
CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def _short_classifier(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("gan_core.features.training._IMAGES", 500)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def folder(root: Path, *, classes: tuple[str, ...] = ("dark", "light"), noise: bool = False, each: int = 60) -> str:
    """Writes images of 8 x 8 whose brightness is that of their class, or unrelated noise; returns the data set."""
    random = np.random.default_rng(0)
    for at, name in enumerate(classes):
        (root / name).mkdir(parents=True, exist_ok=True)
        for number in range(each):
            low, high = (0, 256) if noise else (100 * at, 100 * at + 50)
            Image.fromarray(random.integers(low, high, (8, 8), np.uint8)).save(root / name / f"{number}.png")
    return f"folder:{root}"


def trained(data: str, out: Path, capsys: pytest.CaptureFixture[str], *assignments: str) -> str:
    """Trains with `--evaluate-every`, and returns what was printed."""
    start(make_job(*SHORT, *assignments, variant="vanilla", dataset=data, out=out), (), PlainConsole())
    assert {"evaluation@64/kid", "evaluation@64/unique"} <= metrics(out)[-1].keys()
    return capsys.readouterr().out


def test_train_evaluates_on_labels_that_can_be_read(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = folder(tmp_path / "images")
    printed = trained(data, tmp_path / "run", capsys)
    assert "evaluation features classifier: small CNN that reads 100.00% of 20 test images\n" in printed
    assert "unreliable" not in printed
    assert {"evaluation@64/kid", "evaluation@64/modes"} <= metrics(tmp_path / "run")[-1].keys()
    written = evaluate_run(tmp_path / "run", EvaluationSettings(samples=64), {}, QUIET)
    assert written is not None
    assert written["protocol"]["provenance"] == "small CNN that reads 100.00% of 20 test images"
    assert not any("unreliable" in metric for metric in written["metrics"].values())


def test_metrics_of_a_classifier_that_cannot_read_are_marked(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = folder(tmp_path / "images", noise=True)
    printed = trained(data, tmp_path / "run", capsys)
    assert "warning: all metrics evaluation@64 except unique are unreliable: the classifier reads " in printed
    assert {"evaluation@64/kid", "evaluation@64/modes"} <= metrics(tmp_path / "run")[-1].keys()

    written = evaluate_run(tmp_path / "run", EvaluationSettings(samples=64), {}, QUIET)
    assert json.loads((tmp_path / "run" / "evaluation.json").read_text()) == written
    assert written is not None
    marked = {name: metric.get("unreliable", False) for name, metric in written["metrics"].items() if "value" in metric}
    assert marked == {name: name != "unique" for name in marked}
    assert {"kid", "modes", "coverage", "unique"} <= marked.keys()
    assert " of 20 test images, not more than " in written["notes"][0]

    print_metrics(written, PlainConsole(table=True))
    table = capsys.readouterr().out
    for name in ("KID", "classes drawn", "coverage"):
        assert "(unreliable)" in next(line for line in table.splitlines() if line.startswith(name))
    assert "(unreliable)" not in next(line for line in table.splitlines() if line.startswith("unique images"))

    trained(data, tmp_path / "other", capsys, "seed=1")
    evaluate_run(tmp_path / "other", EvaluationSettings(samples=64), {}, QUIET)
    compare([tmp_path / "run", tmp_path / "other"])
    assert "KID (unreliable)" in capsys.readouterr().out
    compare([tmp_path / "run", tmp_path / "other"], as_json=True)
    assert {"kid", "modes"} <= set(json.loads(capsys.readouterr().out)["unreliable"])


@pytest.mark.parametrize("sizes", [(60, 60), (180, 20), (60,), (30, 30, 30, 30)])
def test_reliable_is_less_than_a_tenth_of_the_errors_of_the_most_frequent_class(
    sizes: tuple[int, ...], tmp_path: Path
) -> None:
    for at, each in enumerate(sizes):
        folder(tmp_path / "images", classes=(f"class{at}",), noise=True, each=each)
    data = real_data(f"folder:{tmp_path}/images")
    open_classifier(ClassifierOptions(), data, CPU, QUIET)
    (file,) = (tmp_path / "cache" / "gan_core" / "classifiers").glob("*.json")
    metadata = json.loads(file.read_text())

    def doubt(accuracy: float) -> str:
        file.write_text(json.dumps(metadata | {"test_accuracy": accuracy}))
        return unreliable(open_classifier(ClassifierOptions(), data, CPU, QUIET))

    labels = [int(label) for label in data.test.labels]  # type: ignore[union-attr]
    most_frequent = max(labels.count(label) for label in range(len(sizes))) / len(labels)
    required = 1 - 0.1 * (1 - most_frequent)
    for accuracy in (0.0, most_frequent, required - 1e-6):
        reads = f"the classifier reads {accuracy:.2%} of {len(labels)} test images"
        assert doubt(accuracy) == f"{reads}, not more than {required:.2%}"
    assert bool(doubt(min(1.0, required + 1e-6))) == (len(sizes) == 1)  # With one class there is nothing to learn.


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (
            {"classes": ("",)},
            "evaluate_features: 'classifier' needs labels, but .* has none. Use --evaluate-features random",
        ),
        ({"each": 29}, "has 58 training images, but evaluation needs at least 60"),
    ],
)
def test_a_folder_that_cannot_be_evaluated_is_refused_before_it_is_read(
    data: dict[str, object], message: str, tmp_path: Path
) -> None:
    job = make_job(*SHORT, variant="vanilla", dataset=folder(tmp_path / "images", **data), out=tmp_path / "run")

    def read(table: str, split: str) -> Rows:
        raise AssertionError("the images are read")

    with pytest.raises(UserError, match=message):
        start(replace(job, dataset=replace(job.dataset, read=read)), (), QUIET)
    with pytest.raises(UserError, match=message):  # As a dry run does.
        check_evaluation(job, job.build())
    assert not (tmp_path / "run").exists()


def test_images_without_labels_are_evaluated_with_the_flag_that_the_error_names(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = folder(tmp_path / "images", classes=("",), each=120)
    printed = trained(data, tmp_path / "run", capsys, "evaluate_features=random")
    assert "evaluation features random: untrained network, for ranking only\n" in printed
    assert "evaluation@64/kid" in metrics(tmp_path / "run")[-1]
    with pytest.raises(UserError, match=r"features: 'classifier' needs labels, .* Use --features random"):
        evaluate_run(tmp_path / "run", EvaluationSettings(samples=64), {}, QUIET)


def test_features_that_training_cannot_have_are_refused(tmp_path: Path, train: Callable[..., str]) -> None:
    with pytest.raises(UserError, match=r"'inception' is not available while training .*--evaluate-features random"):
        train(*SHORT, "evaluate_features=inception", variant="vanilla", out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("blocked", ["cache", "cache/gan_core", "cache/gan_core/classifiers"])
def test_a_cache_that_cannot_be_written_is_an_error_before_the_classifier_is_trained(
    blocked: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def train_classifier(*arguments: object) -> None:
        raise AssertionError("the classifier is trained")

    monkeypatch.setattr("gan_core.features.classifier.train_classifier", train_classifier)
    (tmp_path / blocked).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / blocked).write_text("a file, where root too cannot make a folder")
    message = r"cannot be cached in '.*cache/gan_core/classifiers': .*Set XDG_CACHE_HOME .* --evaluate-features random"
    with pytest.raises(UserError, match=message):
        start(make_job(*SHORT, variant="vanilla", out=tmp_path / "run"), (), QUIET)
    assert not (tmp_path / "run").exists()


@contextmanager
def largest_file(size: int) -> Iterator[None]:
    """No file may become larger, as on a disk that becomes full."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_classifier_that_cannot_be_cached_after_its_training_is_used(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = real_data(folder(tmp_path / "images"))
    images = next(iter(data.test.batches([[0, 1, 2]])))[0]
    with largest_file(100_000):
        space = open_classifier(ClassifierOptions(min_accuracy=0.5), data, CPU, Console(markup=True, width=400))
    assert "warning: the classifier is not cached and will be trained again: [Errno 27]" in capsys.readouterr().out
    assert list((tmp_path / "cache" / "gan_core" / "classifiers").iterdir()) == []
    again = open_classifier(ClassifierOptions(min_accuracy=0.5), data, CPU, QUIET)
    assert torch.equal(space(images).features, again(images).features)
    assert len(list((tmp_path / "cache" / "gan_core" / "classifiers").iterdir())) == 2


def test_a_cache_that_cannot_be_written_is_used_if_it_has_the_classifier(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = real_data(folder(tmp_path / "images"))
    first = open_classifier(ClassifierOptions(min_accuracy=0.5), data, CPU, QUIET)

    def no_file(**arguments: object) -> None:
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr("gan_core.features.classifier.TemporaryFile", no_file)
    assert open_classifier(ClassifierOptions(min_accuracy=0.5), data, CPU, QUIET).fingerprint == first.fingerprint


@pytest.mark.parametrize(
    "junk",
    ["null", "[]", '{"sha256": 5}', '{"sha256": "HASH"}', '{"sha256": "HASH", "test_accuracy": "high"}', "[" * 9999],
)
def test_junk_in_the_cache_is_trained_again(junk: str, tmp_path: Path) -> None:
    data = real_data(folder(tmp_path / "images"))
    first = open_classifier(ClassifierOptions(min_accuracy=0.5), data, CPU, QUIET)
    (metadata,) = (tmp_path / "cache" / "gan_core" / "classifiers").glob("*.json")
    whole = metadata.read_text()
    metadata.write_text(junk.replace("HASH", json.loads(whole)["sha256"]))
    assert open_classifier(ClassifierOptions(min_accuracy=0.5), data, CPU, QUIET).fingerprint == first.fingerprint
    assert metadata.read_text() == whole
