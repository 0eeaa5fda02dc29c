"""Evaluates sources of images other than GANs with the function that evaluates runs."""

from collections.abc import Callable
from pathlib import Path

import torch
from accelerate import Accelerator
from rich.console import Console
from torch import Tensor

from gan_core.data.catalog import open_dataset
from gan_core.data.dataset import ResidentRows
from gan_core.evaluation.evaluate import evaluate
from gan_core.evaluation.evaluation import Evaluation
from gan_core.evaluation.reference import Reference, make_reference
from gan_core.features.load import load_features
from gan_core.features.real_data import RealData

QUIET = Console(quiet=True)


def real_data(dataset: str, data_dir: Path | None = None) -> RealData:
    return RealData(open_dataset(dataset, data_dir=data_dir), torch.device("cpu"))


def reference_of(data: RealData, features: str = "classifier") -> Reference:
    accelerator = Accelerator(cpu=True)
    space = load_features(features, {}).open(data, accelerator, QUIET)
    return make_reference(data, features, space, accelerator, QUIET)


def evaluate_source(source: "ImageSource", count: int, reference: Reference, **flags: bool) -> Evaluation:
    evaluation = evaluate(source, count, reference, Accelerator(cpu=True), QUIET, **flags)
    assert evaluation is not None
    return evaluation


class ImageSource:
    """A source that draws each block of images at random from a tensor, or calls a function to make it."""

    def __init__(self, draw: Tensor | Callable[[torch.Generator, Tensor | None], Tensor], classes: int = 0) -> None:
        self.pool, self.classes = draw, classes

    def prepare(self) -> None:
        """Nothing is prepared."""

    def targets(self, number: int) -> Tensor | None:
        """No image has a target."""

    def block(self, number: int, labels: Tensor | None) -> Tensor:
        random = torch.Generator().manual_seed(number)
        if isinstance(self.pool, Tensor):
            return self.pool[torch.randint(len(self.pool), (64,), generator=random)]
        return self.pool(random, labels)


def training_images(data: RealData) -> tuple[Tensor, Tensor]:
    rows = data.read("train").rows
    assert isinstance(rows, ResidentRows)
    return rows.columns["images"], rows.columns["labels"]
