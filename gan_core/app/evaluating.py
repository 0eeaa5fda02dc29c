"""Evaluating a run: its newest checkpoint against the data set that it was trained on."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from accelerate import Accelerator
from rich.console import Console

from gan_core.app.load import load_run
from gan_core.data.catalog import open_dataset
from gan_core.distributed.roll import Roll
from gan_core.distributed.world import join_world
from gan_core.errors import UserError
from gan_core.evaluation.evaluate import evaluate
from gan_core.evaluation.record import record
from gan_core.evaluation.reference import open_reference
from gan_core.features.load import LoadedFeatures, load_features
from gan_core.features.real_data import RealData
from gan_core.runs.folder import RunFolder
from gan_core.settings.resolve import read_settings
from gan_core.settings.settings import Settings

_SAMPLES, _STACKED_SAMPLES = 10_000, 26_000


@dataclass(frozen=True, kw_only=True, slots=True)
class Request:
    """How a run is to be evaluated.

    Attributes:
        run: Its folder.
        samples: How many images to draw; None takes 10,000, or 26,000 of stacked images, as the field does.
        seed: Seed of the latents.
        features: The feature space's name.
        options: Its options.
        data_dir: Where the data set is now; None takes the run's.
        small_fid: Compute FID also on fewer than 2,000 images.
        gan_train: Also train a classifier on samples.
    """

    run: Path
    samples: int | None
    seed: int
    features: str
    options: Mapping[str, object]
    data_dir: Path | None
    small_fid: bool
    gan_train: bool


def evaluate_run(request: Request, console: Console) -> dict[str, Any] | None:
    """Draws, judges, and writes the result into the run's folder.

    Args:
        request: What to do.
        console: Where the main process shows progress.

    Returns:
        What evaluation.json says, on the main process; None on the others.

    Raises:
        UserError: Something is wrong that can be mended.
    """
    folder = RunFolder(request.run)
    settings = read_settings(folder.read_config(), str(folder.config)).settings
    loaded = load_features(request.features, request.options)
    roll = Roll(settings.deadline)
    with roll.explaining():
        roll.compare("evaluation", {**asdict(request), "data_dir": None})
        accelerator = join_world(
            roll, precision=settings.precision, threads=settings.threads, tracker=None, folder=settings.folder
        )
        heard = console if accelerator.is_main_process else Console(quiet=True)
        try:
            return _evaluate(request, settings, loaded, accelerator, heard)
        finally:
            accelerator.end_training()


def _evaluate(
    request: Request, settings: Settings, loaded: LoadedFeatures, accelerator: Accelerator, console: Console
) -> dict[str, Any] | None:
    dataset = open_dataset(
        settings.dataset,
        data_dir=request.data_dir or settings.data_dir,
        image_size=settings.image_size,
        channels=settings.channels,
    )
    run = load_run(request.run, request.seed, accelerator.device)
    data = RealData(dataset, accelerator.device)
    with accelerator.local_main_process_first():  # It may have to download.
        fingerprint = data.read("train").fingerprint
    if fingerprint != run.facts["data"]["fingerprint"]:
        raise UserError(f"{str(request.run)!r} was trained on another {settings.dataset!r} than there is here now")
    reference = open_reference(loaded, request.features, data, accelerator, console)
    samples = request.samples or (_SAMPLES if dataset.channel is None else _STACKED_SAMPLES)
    evaluation = evaluate(
        run.sampler,
        samples,
        reference,
        accelerator,
        console,
        small_fid=request.small_fid,
        with_gan_train=request.gan_train,
    )
    facts = {"images_seen": run.images_seen, "seed": request.seed}
    written = None if evaluation is None else record(evaluation, facts, run.folder)
    accelerator.wait_for_everyone()
    return written
