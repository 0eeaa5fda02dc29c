"""Evaluation of a run: its newest checkpoint against the data set on which it was trained."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from accelerate import Accelerator
from rich.console import Console

from gan_core.app.data import fingerprints_of, real_data
from gan_core.app.load import LoadedRun, load_run
from gan_core.data.dataset import Dataset
from gan_core.distributed.rendezvous import Rendezvous
from gan_core.distributed.world import join_world, leave_world, main_first, wait_for_all
from gan_core.errors import UserError
from gan_core.evaluation.evaluate import evaluate
from gan_core.evaluation.evaluation import Evaluation
from gan_core.evaluation.fid50k import SAMPLES, evaluate_fid50k
from gan_core.evaluation.protocol import FID50K
from gan_core.evaluation.record import record
from gan_core.evaluation.reference import open_reference
from gan_core.evaluation.source import Source
from gan_core.features.load import LoadedFeatures, load_features
from gan_core.features.real_data import RealData
from gan_core.features.space import SpaceUnavailableError
from gan_core.plugins.load import load_variant
from gan_core.precision import arithmetic
from gan_core.runs.folder import RunFolder
from gan_core.runs.selection import NEWEST
from gan_core.sampling.given import given_count, given_notes, given_rows, samples_of
from gan_core.sampling.sampler import Sampler
from gan_core.settings.evaluation import EvaluationSettings
from gan_core.settings.resolve import read_settings

_SAMPLES, _STACKED_SAMPLES = 10_000, 26_000


def evaluate_run(
    run: Path,
    request: EvaluationSettings,
    options: Mapping[str, object],
    console: Console,
    checkpoint: str | int = NEWEST,
) -> dict[str, Any] | None:
    """Draws samples, evaluates them, and writes the result into the run's folder.

    Args:
        run: The run's folder.
        request: How to evaluate it.
        options: Options of the feature space and sampling options, not yet checked. A name that both have is the
            feature space's.
        console: Where the main process shows progress.
        checkpoint: The checkpoint: "newest", "best", or the images seen.

    Returns:
        The content of evaluation.json on the main process; None on the others.

    Raises:
        UserError: Something is wrong that the user can fix.
    """
    _check_protocol(request)
    folder = RunFolder(run)
    settings = read_settings(folder.read_config(), str(folder.config)).settings
    sampling = load_variant(settings.variant).variant.sampling.model_fields
    known = type(load_features(request.features, {}).options).model_fields
    drawn_with = {key: value for key, value in options.items() if key in sampling and key not in known}
    rest = {key: value for key, value in options.items() if key not in drawn_with}
    loaded = load_features(request.features, rest, others=tuple(sampling))
    rendezvous = Rendezvous(settings.deadline)
    with rendezvous.explaining():
        asked = {"run": run, "options": options, "checkpoint": checkpoint}
        rendezvous.compare("evaluation", asked | request.model_dump(exclude={"data_dir"}))
        accelerator = join_world(rendezvous, precision=settings.precision, threads=settings.threads)
        heard = console if accelerator.is_main_process else Console(quiet=True)
        try:
            with rendezvous.telling(), arithmetic(**settings.arithmetic):
                return _evaluate(run, checkpoint, request, drawn_with, loaded, accelerator, heard)
        finally:
            leave_world(accelerator)


def _check_protocol(request: EvaluationSettings) -> None:
    """Checks that a named protocol is not changed by other settings.

    Raises:
        UserError: It is.
    """
    if request.protocol != FID50K:
        return
    if request.features not in ("inception", "gan-core:inception"):
        raise UserError(
            f"protocol: 'fid50k' compares features of Inception, but features is {request.features!r}. Pass --features "
            "inception --set weights=FILE, or omit --protocol"
        )
    if request.samples not in (None, SAMPLES):
        raise UserError(
            f"samples: protocol 'fid50k' draws {SAMPLES:,} samples, not {request.samples:,}. Omit --samples"
        )
    for key in ("small_fid", "gan_train"):
        if getattr(request, key):
            flag = f"--{key.replace('_', '-')}"
            raise UserError(f"{key}: protocol 'fid50k' computes only FID, KID and unique images. Omit {flag}")


def _fid50k(
    source: Source,
    data: RealData,
    name: str,
    loaded: LoadedFeatures,
    accelerator: Accelerator,
    console: Console,
) -> Evaluation | None:
    try:
        space = loaded.open(data, accelerator, console)
    except SpaceUnavailableError as error:
        raise UserError(f"protocol: 'fid50k' is not possible: {error}") from None
    return evaluate_fid50k(source, data, name, space, accelerator, console)


def _evaluate(
    folder: Path,
    checkpoint: str | int,
    request: EvaluationSettings,
    options: Mapping[str, object],
    loaded: LoadedFeatures,
    accelerator: Accelerator,
    console: Console,
) -> dict[str, Any] | None:
    run = load_run(folder, accelerator.device, checkpoint)
    output = run.output(request.output)
    dataset = run.open_data(request.dataset, request.data_dir)
    given = given_count(dataset, output)
    if given and request.protocol == FID50K:
        raise UserError(
            f"protocol: 'fid50k' draws {SAMPLES:,} samples, but this output is made from {given:,} images, each once. "
            "Omit --protocol"
        )
    loaded.check(dataset.images_of(output.like).spec, "--features")
    with main_first(accelerator, on_each_machine=True):  # It may have to download.
        tables = {table: dataset.read(table, "train") for table in dataset.spec.tables}
    found = {table: rows.fingerprint for table, rows in tables.items()}
    if found != fingerprints_of(run.metadata["data"]):
        raise UserError(f"{str(folder)!r} was trained on other data than {dataset.spec.name!r} is now")
    data = real_data(dataset, output.like, accelerator.device, tables)
    sampler = run.sampler(request.seed, request.output, options, given_rows(dataset, output))
    if request.protocol == FID50K:
        evaluation = _fid50k(sampler, data, request.features, loaded, accelerator, console)
    else:
        reference = open_reference(loaded, request.features, data, accelerator, console)
        usual = _SAMPLES if dataset.channel is None else _STACKED_SAMPLES
        evaluation = evaluate(
            sampler,
            samples_of(request.samples or usual, given),
            reference,
            accelerator,
            console,
            small_fid=request.small_fid,
            with_gan_train=request.gan_train,
        )
    written = None if evaluation is None else _record(evaluation, run, sampler, dataset, request.seed)
    wait_for_all(accelerator)
    return written


def _record(evaluation: Evaluation, run: LoadedRun, sampler: Sampler, dataset: Dataset, seed: int) -> dict[str, Any]:
    """Adds what was drawn to the evaluation, and writes it into the run's folder."""
    changed = sampler.options.model_dump(mode="json", exclude_defaults=True) if sampler.options else {}
    drawn = {"output": sampler.name, "sampling": changed}
    notes = (*evaluation.notes, *given_notes(dataset, sampler.output, evaluation.protocol["samples"]))
    first = next(iter(run.game.outputs))
    return record(
        replace(evaluation, protocol=evaluation.protocol | drawn, notes=notes),
        {"images_seen": run.images_seen, "seed": seed},
        run.folder,
        output="" if sampler.name == first else sampler.name,
    )
