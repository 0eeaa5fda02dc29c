"""The protocol `fid50k`, against torchmetrics, SciPy and plain loops, on one process and on two."""

import importlib
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.linalg
import torch
from accelerate import Accelerator
from torch import Tensor, nn

from gan_core.app.evaluating import evaluate_run
from gan_core.app.load import load_run
from gan_core.errors import UserError
from gan_core.evaluation.compare import read_runs
from gan_core.evaluation.evaluation import Evaluation
from gan_core.evaluation.fid50k import evaluate_fid50k
from gan_core.evaluation.source import real_blocks
from gan_core.features.load import load_features
from gan_core.features.real_data import RealData, Subset
from gan_core.settings.evaluation import EvaluationSettings
from tests.conftest import gan_core, metrics
from tests.evaluating import QUIET, ImageSource, real_data
from tests.test_own_images import folder

# torch-fidelity's module with a network of 12 features in place of Inception, which takes minutes on a CPU.
TORCH_FIDELITY = """
import torch

class FeatureExtractorInceptionV3(torch.nn.Module):
    def __init__(self, name, features, weights):
        assert (name, features) == ("inception", ["2048"])
        super().__init__()
        self.weight = torch.nn.Parameter(torch.load(weights, weights_only=True), requires_grad=False)

    def forward(self, images):
        assert images.dtype == torch.uint8 and images.shape[1] == 3
        return (images.flatten(1).double().div(255).matmul(self.weight).tanh(),)
"""
FID50K = EvaluationSettings(features="inception", protocol="fid50k")


class Identity(nn.Module):
    """A feature extractor for torchmetrics that returns the images, which are the features."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.num_features = size

    def forward(self, features: Tensor) -> Tensor:
        return features.flatten(1)


def torchmetrics_fid(fake: Tensor, real: Tensor) -> float:
    from torchmetrics.image.fid import FrechetInceptionDistance

    theirs = FrechetInceptionDistance(feature=Identity(fake.shape[1]), normalize=False)
    theirs.set_dtype(torch.float64)
    theirs.update(real[:, :, None, None], real=True)
    theirs.update(fake[:, :, None, None], real=False)
    return float(theirs.compute())


def scipy_fid(fake: Tensor, real: Tensor) -> float:
    """Heusel et al. 2017, equation 6, with a matrix square root."""
    (m, c), (n, d) = ((x.mean(0), np.cov(x.T)) for x in (fake.numpy(), real.numpy()))
    return float(((m - n) ** 2).sum() + np.trace(c + d - 2 * scipy.linalg.sqrtm(c @ d).real))


def loop_kid(fake: Tensor, real: Tensor, size: int) -> list[float]:
    """Bińkowski et al. 2018, equation 4, block by block, with means over the pairs of different images."""

    def kernel(x: Tensor, y: Tensor) -> np.ndarray[Any, Any]:
        return np.asarray((x.numpy() @ y.numpy().T / x.shape[1] + 1) ** 3)

    different = ~np.eye(size, dtype=bool)
    parts = [slice(size * i, size * (i + 1)) for i in range(min(len(fake), len(real)) // size)]
    return [
        float(kernel(x, x)[different].mean() + kernel(y, y)[different].mean() - 2 * kernel(x, y).mean())
        for x, y in ((fake[part], real[part]) for part in parts)
    ]


@pytest.fixture(scope="module")
def inception(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A file of weights, beside the module that loads it."""
    importlib.import_module("torchmetrics.image.fid")  # It would import the module below with all that is in it.
    site = tmp_path_factory.mktemp("site")
    (site / "torch_fidelity").mkdir()
    (site / "torch_fidelity" / "__init__.py").touch()
    (site / "torch_fidelity" / "feature_extractor_inceptionv3.py").write_text(TORCH_FIDELITY)
    random = torch.Generator().manual_seed(0)
    torch.save(torch.randn(192, 12, generator=random, dtype=torch.float64) / 8, site / "weights.pth")
    real = {name: sys.modules.pop(name) for name in list(sys.modules) if name.startswith("torch_fidelity")}
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(site)
        yield site / "weights.pth"
    for name in [name for name in sys.modules if name.startswith("torch_fidelity")]:
        del sys.modules[name]
    sys.modules.update(real)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A short run on digits."""
    out = tmp_path_factory.mktemp("run") / "vanilla"
    gan_core("train", "--variant", "vanilla", "--set", "width=8", "--steps", 5, "--out", out)
    return out


@pytest.fixture(scope="module")
def written(run: Path, inception: Path) -> tuple[dict[str, Any], str]:
    """What two processes write to evaluation.json, and print."""
    words = ("evaluate", run, "--features", "inception", "--protocol", "fid50k", "--set", f"weights={inception}")
    output = gan_core(*words, processes=2, PYTHONPATH=str(inception.parent))
    return json.loads((run / "evaluation.json").read_text()), output


def all_images(subset: Subset) -> Tensor:
    return next(iter(subset.batches([list(range(len(subset)))])))[0]


def evaluated(source: Any, data: RealData, count: int) -> Evaluation:
    accelerator = Accelerator(cpu=True)
    space = load_features("random", {}).open(data, accelerator, QUIET)
    evaluation = evaluate_fid50k(source, data, "random", space, accelerator, QUIET, count)
    assert evaluation is not None
    return evaluation


def test_fid_and_kid_are_those_of_other_libraries(
    run: Path, inception: Path, written: tuple[dict[str, Any], str]
) -> None:
    found, data = written[0]["metrics"], real_data("digits")
    assert set(found) == {"fid50k", "kid50k", "unique"}
    module = importlib.import_module("torch_fidelity.feature_extractor_inceptionv3")
    network = module.FeatureExtractorInceptionV3("inception", ["2048"], str(inception))
    samples = load_run(run).sampler(0).draw_all(50_000)
    sets = (samples, all_images(data.whole), all_images(data.test))
    fake, train, test = (network(images.repeat(1, 3, 1, 1))[0] for images in sets)
    assert (len(fake), len(train), len(test)) == (50_000, 1500, 297)
    assert found["fid50k"]["value"] == pytest.approx(torchmetrics_fid(fake, train), rel=1e-6)
    assert found["fid50k"]["value"] == pytest.approx(scipy_fid(fake, train), rel=1e-6)
    assert found["fid50k"]["samples"] == found["unique"]["samples"] == 50_000
    blocks = loop_kid(fake, train, 150)
    assert len(blocks) == 10
    assert found["kid50k"]["value"] == pytest.approx(np.mean(blocks), rel=1e-9)
    assert found["kid50k"]["error"] == pytest.approx(np.std(blocks, ddof=1) / 10**0.5, rel=1e-6)
    assert found["kid50k"]["samples"] == 1500
    assert found["unique"]["value"] == len(samples.flatten(1).unique(dim=0)) / 50_000
    # The real images' own score is that of the test split; its 297 images are too few for FID.
    floor = found["kid50k"]["floor"]
    assert floor["value"] == pytest.approx(np.mean(loop_kid(test, train, 29)), rel=1e-9)
    assert abs(floor["value"]) < 4 * floor["error"] < found["kid50k"]["value"]
    assert "floor" not in found["fid50k"]


def test_the_protocol_is_recorded_and_printed(run: Path, written: tuple[dict[str, Any], str]) -> None:
    (evaluation, output), found = written, written[0]["protocol"]
    assert (found["name"], found["samples"], found["compared"]) == ("fid50k", 50_000, 1500)
    assert metrics(run)[-1]["evaluation@50000/fid50k"] == evaluation["metrics"]["fid50k"]["value"]
    assert "All 1,500 training images are compared with the samples; none is held out." in output
    assert "Their FID is not computed: on fewer than 2,000 it is mostly bias." in output
    assert "digits at 0.32 kimg, protocol fid50k" in output
    rows = [line.split()[0] for line in output.splitlines() if line.startswith(("FID", "KID"))]
    assert rows == ["FID-50k", "KID-50k"]


def test_rounds_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    data = real_data("digits")
    source = ImageSource(all_images(data.test))
    monkeypatch.setattr("gan_core.evaluation.kernel._BLOCK", 64)
    at_once = evaluated(source, data, 1000)
    asked = []

    def recorded(images: Subset, numbers: range) -> Iterator[Tensor]:
        asked.append(len(numbers))
        return real_blocks(images, numbers)

    monkeypatch.setattr("gan_core.evaluation.fid50k.ROUND", 128)
    monkeypatch.setattr("gan_core.evaluation.fid50k.real_blocks", recorded)
    in_rounds = evaluated(source, data, 1000)
    assert max(asked) == 2  # 128 images are 2 blocks of 64.
    assert at_once.fakes.measured.keys() == {"fid50k", "kid50k", "unique"}
    assert at_once.fakes.measured["kid50k"].samples == 15 * 64
    for name, metric in at_once.fakes.measured.items():
        assert in_rounds.fakes.measured[name].value == pytest.approx(metric.value, rel=1e-9, abs=1e-9)
        assert in_rounds.fakes.measured[name].samples == metric.samples


def test_all_training_images_and_their_labels_are_used_once() -> None:
    data = real_data("digits")
    assert sorted(data.whole.indices) == list(range(1500))
    requested = {}

    class Recording(ImageSource):
        def block(self, number: int, labels: Tensor | None) -> Tensor:
            requested[number] = labels
            return super().block(number, labels)

    evaluated(Recording(torch.zeros(1, 1, 8, 8, dtype=torch.uint8), classes=10), data, 1500)
    labels = torch.cat([requested[number] for number in sorted(requested)])
    images = data.read("train")
    assert sorted(labels[:1500].tolist()) == sorted(images.labels.tolist())  # type: ignore[union-attr]


def test_the_training_images_themselves_score_0_and_have_no_floor_without_a_test_split(tmp_path: Path) -> None:
    data = real_data(folder(tmp_path / "images", noise=True))
    whole = all_images(data.whole)

    class Copies:
        classes = 0

        def prepare(self) -> None:
            """Nothing is to be prepared."""

        def targets(self, number: int) -> Tensor | None:
            return None

        def block(self, number: int, labels: Tensor | None) -> Tensor:
            return whole[torch.arange(64 * number, 64 * number + 64) % len(whole)]

    found = evaluated(Copies(), data, len(whole))
    assert found.fakes.measured["fid50k"].value == pytest.approx(0, abs=1e-8)
    assert found.fakes.measured["unique"].value == 1.0
    assert found.floor.measured == {}
    assert found.notes[1] == "There is no test split, so real images have no score of their own."


def test_the_floor_has_an_fid_where_the_test_split_is_large_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gan_core.evaluation.fid50k.MIN_FID_SAMPLES", 297)
    data = real_data("digits")
    found = evaluated(ImageSource(all_images(data.test)), data, 1000)
    space = load_features("random", {}).open(data, Accelerator(cpu=True), QUIET)
    test, train = (space(all_images(subset)).features.double() for subset in (data.test, data.whole))
    assert found.floor.measured["fid50k"].value == pytest.approx(torchmetrics_fid(test, train), abs=1e-5)
    assert found.floor.measured["fid50k"].samples == 297
    assert found.notes[1].endswith("FID grows with fewer images: on 1,000 it would be lower. KID does not.")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"features": "classifier"}, r"compares features of Inception, but features is 'classifier'"),
        ({"features": "random"}, r"but features is 'random'\. Pass --features inception --set weights=FILE"),
        ({"samples": 2000}, r"samples: .* draws 50,000 samples, not 2,000\. Omit --samples"),
        ({"small_fid": True}, r"small_fid: .* computes only FID, KID and unique images\. Omit --small-fid"),
        ({"gan_train": True}, r"gan_train: .* Omit --gan-train"),
    ],
)
def test_what_changes_the_protocol_is_refused_before_anything_is_read(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        evaluate_run(Path("nowhere"), FID50K.model_copy(update=changes), {}, QUIET)


def test_without_weights_there_is_an_error_and_no_empty_table(run: Path) -> None:
    with pytest.raises(UserError, match=r"'fid50k' is not possible: inception needs its weights file\. Pass --set"):
        evaluate_run(run, FID50K, {}, QUIET)


def test_one_process_agrees_with_two_and_is_not_compared_with_the_standard_protocol(
    run: Path, inception: Path, written: tuple[dict[str, Any], str], tmp_path: Path
) -> None:
    fid50k = evaluate_run(run, FID50K, {"weights": inception}, QUIET)
    assert fid50k is not None
    assert fid50k["protocol"] == written[0]["protocol"]
    for name, metric in fid50k["metrics"].items():
        assert metric["value"] == pytest.approx(written[0]["metrics"][name]["value"], rel=1e-9)

    standard = evaluate_run(run, EvaluationSettings(features="inception", samples=300), {"weights": inception}, QUIET)
    assert standard is not None
    assert {"kid", "coverage"} <= standard["metrics"].keys()
    assert standard["protocol"]["name"] == "standard"
    unnamed = standard | {"protocol": {key: value for key, value in standard["protocol"].items() if key != "name"}}
    for folder_name, content in (("standard", standard), ("unnamed", unnamed), ("fid50k", fid50k)):
        (tmp_path / folder_name).mkdir()
        (tmp_path / folder_name / "config.yaml").write_bytes((run / "config.yaml").read_bytes())
        (tmp_path / folder_name / "evaluation.json").write_text(json.dumps(content))
    with pytest.raises(UserError, match=r"different protocols[^\n]*\n  name: 'standard' and 'fid50k'\n"):
        read_runs([tmp_path / "standard", tmp_path / "fid50k"])
    assert len(read_runs([tmp_path / "standard", tmp_path / "unnamed"])) == 2  # As an earlier version wrote it.
