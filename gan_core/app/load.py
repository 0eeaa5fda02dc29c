"""Loading a run's generator from its folder, without its data set, optimizers or discriminator."""

from dataclasses import dataclass, fields
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from gan_core.console import warn
from gan_core.distributed.world import check_float64, dtype_of, on_cpu
from gan_core.errors import UserError
from gan_core.game.data_spec import DataSpec
from gan_core.plugins.load import load_variant
from gan_core.runs.checkpoint import Checkpoint, newest
from gan_core.runs.folder import RunFolder
from gan_core.sampling.sampler import Sampler
from gan_core.settings.resolve import read_settings
from gan_core.settings.settings import Settings

_ATTEMPTS = 3
"""How often a checkpoint is looked for, while a training may replace it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class LoadedRun:
    """A run's generator from its newest intact checkpoint, with the run's settings and metadata."""

    folder: RunFolder
    settings: Settings
    metadata: dict[str, Any]
    images_seen: int
    sampler: Sampler


def load_run(run: Path, seed: int, device: torch.device | None = None) -> LoadedRun:
    """Loads the averaged networks of a run's newest intact checkpoint.

    Args:
        run: The run's folder.
        seed: Seed of the samples.
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
    data = metadata["data"]
    kinds = {field.name: int for field in fields(DataSpec)} | {"name": str, "fingerprint": str}
    found = {"name": settings.dataset} | data
    if found.keys() != kinds.keys() or not all(isinstance(found[key], kind) for key, kind in kinds.items()):
        raise UserError(f"{str(folder.metadata)!r} is damaged: data is {data!r:.200}")
    spec = DataSpec(name=settings.dataset, **{key: value for key, value in data.items() if key != "fingerprint"})
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
        sampler=Sampler(game, networks, seed, device, dtype),
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
