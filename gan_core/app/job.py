"""The job: what to train, resolved and checked before any data is read."""

import os
import platform
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from importlib.util import find_spec
from math import ceil
from typing import Any

import torch
from accelerate import Accelerator

from gan_core.app.data import described_data
from gan_core.app.initial import initial_checkpoint
from gan_core.data.catalog import open_dataset
from gan_core.data.dataset import Dataset
from gan_core.data.source import DataRequest
from gan_core.distributed.hardware import describe_device
from gan_core.distributed.world import check_float64, on_cpu
from gan_core.errors import UserError, did_you_mean
from gan_core.features.load import load_features
from gan_core.features.real_data import RealData
from gan_core.game.game import Game
from gan_core.game.variant import Options
from gan_core.plugins.load import LoadedVariant, load_variant
from gan_core.precision import WORKSPACE, WORKSPACES
from gan_core.randomness import Streams
from gan_core.runs.checkpoint import newest
from gan_core.runs.folder import RunFolder
from gan_core.runs.resume import comparable
from gan_core.sampling.given import output_named
from gan_core.settings.flatten import dotted, flatten
from gan_core.settings.resolve import Resolved
from gan_core.settings.settings import Settings
from gan_core.version import __version__

_OF_A_MACHINE = ("data_dir", "threads", "resident", "workers")
"""Settings that may differ between the processes of a run."""


@dataclass(frozen=True, kw_only=True)
class Job:
    """What to train. No data is read and nothing is on a device yet.

    Attributes:
        settings: The settings of the run.
        loaded: The variant.
        options: Its options.
        dataset: The data set.
        origins: Where each setting that was given comes from: "flag", "file" or "variant".
    """

    settings: Settings
    loaded: LoadedVariant
    options: Options
    dataset: Dataset
    origins: Mapping[str, str] = field(default_factory=dict)

    def build(self) -> Game:
        """Builds the game on the CPU, with the initial weights of this seed.

        Raises:
            UserError: The variant does not accept these options or this data.
        """
        Streams(self.settings.seed).seed_modules("initial weights", 0, 0)
        threads = torch.get_num_threads()
        torch.set_num_threads(1)  # Orthogonal and spectral initialisation depend on the number in their last digits.
        try:
            return self.loaded.build(self.options, self.dataset.spec)
        finally:
            torch.set_num_threads(threads)

    def length(self, step_images: int) -> int:
        """Returns the run's length in images: whole steps, at least as many images as were requested."""
        settings = self.settings
        if settings.steps is not None:
            return settings.steps * step_images
        images = settings.kimg * 1000 if settings.kimg is not None else (settings.epochs or 0) * self.dataset.spec.count
        # A tenth of an image is rounding error of the multiplication and must not add a step.
        return max(1, ceil((images - 0.1) / step_images)) * step_images

    def identity(self) -> dict[str, Any]:
        """Returns what must be the same in all processes: versions, and all settings except those of a machine."""
        plugin = self.loaded.plugin
        settings = {key: value for key, value in dotted(self.config()).items() if key not in _OF_A_MACHINE}
        return settings | {
            f"version of {plugin.distribution}": plugin.version,
            "version of gan_core": __version__,
        }

    def config(self) -> dict[str, Any]:
        """Returns every setting, including the variant's options, as plain values."""
        return as_config(self.settings, self.options)


def as_config(settings: Settings, options: Options) -> dict[str, Any]:
    """Returns every setting, and the variant's options under "options", as plain values."""
    return settings.model_dump(mode="json") | {"options": options.model_dump(mode="json")}


def with_variant(resolved: Resolved) -> tuple[LoadedVariant, Resolved, Options]:
    """Loads the variant; returns it, the settings with its defaults, and its options.

    Raises:
        UserError: It does not exist, or an option is not allowed.
    """
    loaded = load_variant(resolved.settings.variant)
    resolved = resolved.with_defaults(loaded.variant.defaults, loaded.plugin.label)
    return loaded, resolved, resolved.options_as(loaded.variant.options)


def make_job(resolved: Resolved) -> Job:
    """Loads the variant and describes the data set.

    Raises:
        UserError: One of them does not exist or does not fit, or an option is not allowed.
    """
    loaded, resolved, options = with_variant(resolved)
    settings = resolved.settings
    dataset = open_dataset(settings.dataset, **DataRequest.options_in(settings))
    return Job(settings=settings, loaded=loaded, options=options, dataset=dataset, origins=resolved.origins)


def check_job(job: Job, processes: int, allowed: Collection[str]) -> None:
    """Checks everything that can be checked before data is read and networks are built; a dry run does the same.

    Raises:
        UserError: A setting is not allowed here; the message gives the key, the value, and what is allowed.
    """
    settings, folder = job.settings, RunFolder(job.settings.folder)
    if settings.precision == "fp16" and on_cpu():
        raise UserError("precision: 'fp16' needs a GPU; on a CPU use fp32 or bf16")
    if settings.precision == "fp16" and settings.on_nan == "skip":
        raise UserError("on_nan: 'skip' is not allowed with precision 'fp16', which always skips them: leave it out")
    check_float64(settings.precision)
    if settings.deterministic and (given := os.environ.get(WORKSPACE, WORKSPACES[0])) not in WORKSPACES:
        raise UserError(f"deterministic: {WORKSPACE} is {given!r}. Unset it, or set it to {' or '.join(WORKSPACES)}")
    _check_batch(settings, processes)
    for name in settings.track or ():
        if find_spec(name) is None:
            raise UserError(f"track: {name!r} is not installed: pip install {name}")
    keys = [*comparable(flatten(job.config(), {})), "metrics"]
    for key in allowed:
        if key not in keys:
            raise UserError(f"--allow-change {key!r}: no such key.{did_you_mean(key, keys)} Allowed: {', '.join(keys)}")
    if settings.resume == "never" and folder.exists:
        raise UserError(f"resume: 'never', but {str(folder.root)!r} already contains a run. Use another --out")
    if settings.init is not None and (settings.resume == "restart" or not folder.exists):
        initial_checkpoint(settings.init, folder)
    if settings.resume == "must" and newest(folder.checkpoints, lambda _: None) is None:
        raise UserError(f"resume: 'must', but {str(folder.root)!r} contains no intact checkpoint")
    there = next(path for path in (folder.root.absolute(), *folder.root.absolute().parents) if path.exists())
    if not there.is_dir() or not os.access(there, os.W_OK):
        raise UserError(
            f"out: {str(folder.root)!r} cannot be written: {str(there)!r} is not a folder with write permission"
        )


def check_evaluation(job: Job, game: Game) -> None:
    """Checks that the game's first output can be evaluated while training, if that is asked for, before data is read.

    Raises:
        UserError: The feature space does not exist or needs labels, or the data set is too small.
    """
    if job.settings.evaluate_every is not None:
        images = job.dataset.images_of(output_named(game, None)[1].like)
        load_features(job.settings.evaluate_features, {}).check(images.spec, "--evaluate-features")
        RealData(images, torch.device("cpu"))  # Checks the number of images.


def _check_batch(settings: Settings, processes: int) -> None:
    """Raises an error if the batch cannot be divided evenly over the processes and micro-batches."""
    parts = processes * settings.accumulate
    if settings.batch % parts:
        lower, upper = settings.batch // parts * parts, -(-settings.batch // parts) * parts
        nearest = f"{lower} or {upper}" if lower else str(upper)
        raise UserError(
            f"batch: {settings.batch} cannot be divided over {processes} processes with {settings.accumulate} "
            f"micro-batches each: it must be a multiple of {parts}, such as {nearest}"
        )


def run_metadata(job: Job, length: int, fingerprints: Mapping[str, str], accelerator: Accelerator) -> dict[str, Any]:
    """Returns what defines a run besides its settings, for run.json and for the check on resume."""
    plugin = job.loaded.plugin
    return {
        "length": length,
        "variant_distribution": plugin.distribution,
        "variant_version": plugin.version,
        "variant_source": plugin.source,
        "data": described_data(job.dataset.spec, fingerprints),
        "skipped_files": job.dataset.skipped,
        "converted_files": dict(job.dataset.converted),
        "processes": accelerator.num_processes,
        "device": describe_device(accelerator.device),
        "tf32": job.settings.tf32,
        "deterministic": job.settings.deterministic,
        "gan_core": __version__,
        "torch": torch.__version__,
        "python": platform.python_version(),
    }
