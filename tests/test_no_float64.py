"""Devices without float64, such as Apple's GPUs (MPS): fp64 is refused, and metrics are computed on the CPU."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from accelerate import Accelerator
from torch import Tensor

from gan_core.app.job import check_job
from gan_core.app.load import load_run
from gan_core.errors import UserError
from gan_core.evaluation.reference import make_reference
from gan_core.features.network import SmallCnn
from gan_core.features.real_data import RealBatch
from gan_core.features.space import Embedding
from gan_core.features.training import accuracy
from gan_core.game.data_spec import ImageField
from tests.conftest import SMALL, make_job
from tests.evaluating import QUIET, ImageSource, evaluate_source, real_data, training_images


class OnMps(Tensor):
    """A tensor that stands in for one on MPS: no operation on it may give float64, until it is copied to the CPU."""

    @classmethod
    def __torch_function__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is Tensor.cpu:
            return args[0].as_subclass(Tensor)
        out = super().__torch_function__(func, types, args, kwargs or {})
        if isinstance(out, OnMps) and out.dtype == torch.float64:
            raise TypeError(
                "Cannot convert a MPS Tensor to float64 dtype as the MPS framework doesn't support float64."
            )
        return out


class SpaceOnMps:
    """A feature space whose outputs are on MPS."""

    fingerprint, provenance = "0", "a test"

    def __init__(self, network: SmallCnn) -> None:
        self.network = network

    @torch.no_grad()
    def __call__(self, images: Tensor) -> Embedding:
        features, logits = self.network(images)
        return Embedding(features=features.as_subclass(OnMps), probabilities=logits.softmax(1).as_subclass(OnMps))


class Bare:
    """The same on the CPU."""

    def __init__(self, space: SpaceOnMps) -> None:
        self.space, self.fingerprint, self.provenance = space, space.fingerprint, space.provenance

    def __call__(self, images: Tensor) -> Embedding:
        found = self.space(images)
        assert found.probabilities is not None
        return Embedding(features=found.features.cpu(), probabilities=found.probabilities.cpu())


def test_evaluation_goes_to_the_cpu_before_float64() -> None:
    data = real_data("digits")
    torch.manual_seed(0)
    space = SpaceOnMps(SmallCnn(data.dataset.spec.image(), 10).eval())
    found = []
    for each in (space, Bare(space)):
        reference = make_reference(data, "test", each, Accelerator(cpu=True), QUIET)
        found.append(evaluate_source(ImageSource(training_images(data)[0]), 300, reference, small_fid=True))
    assert {"fid", "kid", "coverage", "copies", "confidence"} <= found[0].fakes.measured.keys()
    assert found[0].to_json() == found[1].to_json()


class ImagesOnMps:
    """Images of a data set on MPS."""

    def __init__(self, images: Tensor, labels: Tensor) -> None:
        self.images, self.labels = images, labels

    def batches(self, indices: list[list[int]]) -> Iterator[RealBatch]:
        return ((self.images[at].as_subclass(OnMps), self.labels[at].as_subclass(OnMps)) for at in indices)


def test_the_accuracy_of_a_classifier_too() -> None:
    images, labels = training_images(real_data("digits"))
    network = SmallCnn(ImageField(channels=1, height=8, width=8), 10).eval()
    correct = network(images[:200])[1].argmax(1) == labels[:200]
    assert accuracy(network, ImagesOnMps(images[:200], labels[:200])) == float(correct.double().mean())


@pytest.fixture
def mps(monkeypatch: pytest.MonkeyPatch) -> None:
    """torch says that there is such a device."""
    monkeypatch.setattr(torch.accelerator, "is_available", lambda: True)
    monkeypatch.setattr(torch.accelerator, "current_accelerator", lambda: torch.device("mps"))


REFUSED = (
    r"precision: 'fp64' is not allowed on an Apple GPU \(MPS\).* Use fp32, or train on the CPU with ACCELERATE_USE"
)


@pytest.mark.usefixtures("mps")
def test_fp64_is_refused_before_anything_is_built(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    double, single = (
        make_job(variant="dcgan", steps=1, precision=precision, out=tmp_path / "run") for precision in ("fp64", "fp32")
    )
    with pytest.raises(UserError, match=REFUSED):
        check_job(double, 1, ())
    check_job(single, 1, ())
    monkeypatch.setenv("ACCELERATE_USE_CPU", "1")
    check_job(double, 1, ())


def test_a_run_in_fp64_is_not_loaded_there(
    tmp_path: Path, train: Callable[..., str], request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    train(*SMALL, variant="dcgan", batch=32, steps=1, precision="fp64", out=tmp_path / "run")
    request.getfixturevalue("mps")
    with pytest.raises(UserError, match=REFUSED):
        load_run(tmp_path / "run")
    monkeypatch.setenv("ACCELERATE_USE_CPU", "1")
    assert load_run(tmp_path / "run").device.type == "cpu"
