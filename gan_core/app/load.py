"""Loading a run's generator from its folder, without its data set, optimizers or discriminator."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from gan_core.app.data import spec_of
from gan_core.console import warn
from gan_core.data.catalog import open_dataset
from gan_core.data.dataset import Dataset
from gan_core.distributed.world import check_float64, dtype_of, on_cpu
from gan_core.errors import UserError, did_you_mean
from gan_core.game.data_spec import DataSpec
from gan_core.game.game import Game
from gan_core.game.output import Output
from gan_core.game.phase import Networks
from gan_core.game.variant import Variant
from gan_core.plugins.load import load_variant
from gan_core.runs.checkpoint import Checkpoint, newest
from gan_core.runs.folder import RunFolder
from gan_core.sampling.given import GivenRows, output_named
from gan_core.sampling.sampler import Sampler
from gan_core.settings.resolve import read_settings, validated
from gan_core.settings.settings import Settings

_ATTEMPTS = 3
"""How often a checkpoint is looked for, while a training may replace it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class LoadedRun:
    """A run's averaged networks from its newest intact checkpoint, with the run's settings and metadata."""

    folder: RunFolder
    settings: Settings
    metadata: dict[str, Any]
    images_seen: int
    variant: Variant
    game: Game
    data: DataSpec
    networks: Networks
    device: torch.device

    def output(self, name: str | None) -> Output:
        """Returns the output of this name; None is the first one.

        Raises:
            UserError: There is none of that name.
        """
        try:
            return output_named(self.game, name)[1]
        except KeyError:
            names = ", ".join(self.game.outputs)
            hint = did_you_mean(str(name), self.game.outputs)
            raise UserError(f"output: {name!r} is no output of this variant.{hint} Allowed: {names}") from None

    def open_data(self, name: str | None = None, data_dir: Path | None = None) -> Dataset:
        """Describes the run's data set.

        Args:
            name: The data set where it lies now; None takes the run's own.
            data_dir: Its folder; None takes the run's own.

        Raises:
            UserError: It cannot be used, or has other fields than those that the run was trained on.
        """
        settings = self.settings
        dataset = open_dataset(
            name or settings.dataset,
            data_dir=data_dir or settings.data_dir,
            image_size=settings.image_size,
            channels=settings.channels,
            skip_bad=settings.skip_bad,
            background=settings.background,
            crop=settings.crop,
        )
        if (found := dataset.spec.described()) != (trained := self.data.described()):
            raise UserError(
                f"{str(self.folder.root)!r} was trained on other data than {dataset.spec.name!r} is now: it had "
                f"{trained}, and this has {found}"
            )
        return dataset

    def sampler(
        self,
        seed: int,
        output: str | None = None,
        options: Mapping[str, object] | None = None,
        rows: Mapping[str, GivenRows] | None = None,
    ) -> Sampler:
        """Returns a sampler of the averaged networks.

        Args:
            seed: Seed of the samples.
            output: The output's name; None is the first one.
            options: Sampling options that differ from their defaults, not yet checked.
            rows: The rows for each image field that the output is given.

        Raises:
            UserError: There is no such output, or an option is not allowed.
        """
        self.output(output)
        return Sampler(
            self.game,
            self.data,
            self.networks,
            seed,
            self.device,
            dtype_of(self.settings.precision),
            output=output,
            options=validated(self.variant.sampling, options or {}, what=f"sampling option of {self.settings.variant}"),
            rows=rows,
        )


def load_run(run: Path, device: torch.device | None = None) -> LoadedRun:
    """Loads the averaged networks of a run's newest intact checkpoint.

    Args:
        run: The run's folder.
        device: The device of the networks; None uses an accelerator, unless networks run on CPUs.

    Raises:
        UserError: The folder contains no run or no intact checkpoint, the checkpoint does not fit the variant, or the
            device does not have the run's precision.
    """
    folder = RunFolder(run)
    resolved = read_settings(folder.read_config(), str(folder.config))
    settings = resolved.settings
    check_float64(settings.precision, device)
    checkpoint, averages = _newest(folder)
    metadata = folder.read_metadata()
    if "data" not in metadata:
        raise UserError(f"{str(folder.metadata)!r} is missing or damaged: it describes the data of the run")
    try:
        spec = spec_of(settings.dataset, metadata["data"])
    except ValueError as error:
        raise UserError(f"{str(folder.metadata)!r} is damaged: {error}") from None
    loaded = load_variant(settings.variant)
    game = loaded.build(resolved.options_as(loaded.variant.options), spec)
    if device is None and not on_cpu():
        device = torch.accelerator.current_accelerator()
    device, dtype = device or torch.device("cpu"), dtype_of(settings.precision)
    networks = {name: game.networks[name].to(device, dtype).eval().requires_grad_(False) for name in game.ema}
    for name, network in networks.items():
        try:
            network.load_state_dict(averages[name])
        except (RuntimeError, KeyError) as error:
            raise UserError(
                f"checkpoint {checkpoint.path} does not fit {loaded.plugin.label}; the run was trained with version "
                f"{metadata.get('variant_version')}: {error}"
            ) from error
    return LoadedRun(
        folder=folder,
        settings=settings,
        metadata=metadata,
        images_seen=checkpoint.images_seen,
        variant=loaded.variant,
        game=game,
        data=spec,
        networks=networks,
        device=device,
    )


def _newest(folder: RunFolder) -> tuple[Checkpoint, dict[str, dict[str, Tensor]]]:
    """Returns the newest intact checkpoint and its averages by network; again if a training removes it meanwhile.

    Raises:
        UserError: There is none.
    """
    warn_once = cache(warn)  # Each text once.
    for _ in range(_ATTEMPTS):
        checkpoint = newest(folder.checkpoints, warn_once)
        if checkpoint is None:
            continue
        try:
            files = checkpoint.path.glob("ema-*.safetensors")
            found = {file.stem.removeprefix("ema-"): checkpoint.tensors(file.stem) for file in files}
        except (UserError, OSError):
            if checkpoint.path.exists():
                raise
        else:
            if checkpoint.path.exists():
                return checkpoint, found
    raise UserError(f"{str(folder.root)!r} contains no intact checkpoint yet")
