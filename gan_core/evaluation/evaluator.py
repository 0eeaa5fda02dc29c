"""Evaluation during training: the metrics of `gan_core evaluate` on fewer samples, for the log."""

from dataclasses import dataclass

from accelerate import Accelerator
from rich.console import Console

from gan_core.data.dataset import Dataset
from gan_core.errors import UserError
from gan_core.evaluation.evaluate import evaluate
from gan_core.evaluation.evaluation import Evaluation
from gan_core.evaluation.metrics import MIN_FID_SAMPLES, OF_TARGETS, SCALARS
from gan_core.evaluation.reference import Reference, make_reference
from gan_core.evaluation.source import Source
from gan_core.features.load import load_features
from gan_core.features.real_data import RealData, fold_size
from gan_core.features.space import SpaceUnavailableError, unreliable
from gan_core.game.output import Output
from gan_core.sampling.given import given_count, given_images, samples_of


@dataclass(frozen=True, kw_only=True)
class Evaluator:
    """Evaluates the current state of one generator at each call.

    Attributes:
        source: The generator.
        samples: The number of images to draw.
        reference: The real images in the feature space, embedded once.
        accelerator: This run's processes.
    """

    source: Source
    samples: int
    reference: Reference
    accelerator: Accelerator

    def evaluate(self) -> Evaluation | None:
        """Returns the evaluation on the main process, None on the others. Every process must call it."""
        return evaluate(self.source, self.samples, self.reference, self.accelerator, Console(quiet=True))


def make_evaluator(
    data: RealData,
    source: Source,
    *,
    samples: int,
    features: str,
    accelerator: Accelerator,
    console: Console,
) -> Evaluator:
    """Opens the feature space, training it first if necessary, and embeds the real images.

    Every process must call it. It prints where the features come from, and why they are unreliable if they are.

    Raises:
        UserError: The feature space does not exist, is not available, or does not support this data.
    """
    try:
        space = load_features(features, {}).open(data, accelerator, console)
    except SpaceUnavailableError as error:
        raise UserError(
            f"evaluate_features: {features!r} is not available while training ({error}). Use --evaluate-features random"
        ) from None
    doubt = unreliable(space)
    warning = f"\nwarning: all metrics evaluation@{samples} except unique are unreliable: {doubt}" if doubt else ""
    console.print(f"evaluation features {features}: {space.provenance}{warning}", soft_wrap=True)
    reference = make_reference(data, features, space, accelerator, console)
    return Evaluator(source=source, samples=samples, reference=reference, accelerator=accelerator)


def metric_names(samples: int, dataset: Dataset, output: Output) -> list[str]:
    """Returns the names under which scalar metrics of an output are logged.

    Without FID, if fewer samples and real images of this data set are compared than it needs.

    Args:
        samples: The number of samples that the settings ask for.
        dataset: The data set.
        output: The output that is evaluated.
    """
    drawn = samples_of(samples, given_count(dataset, output))
    few = min(drawn, fold_size(dataset.images_of(output.like))) < MIN_FID_SAMPLES
    sources = {dataset.table_of(name) for name in given_images(output, dataset.spec.fields)}
    names = (*SCALARS, *(OF_TARGETS if dataset.table_of(output.like) in sources else ()))
    return [f"evaluation@{drawn}/{name}" for name in names if not (few and name.startswith("fid"))]
