"""Opens a feature space by name, and checks that it is the same on all processes."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from accelerate import Accelerator
from rich.console import Console

from gan_core.distributed.world import main_first
from gan_core.errors import UserError
from gan_core.features.real_data import RealData
from gan_core.features.space import FEATURES_API, Features, FeatureSpace, SpaceUnavailableError
from gan_core.game.data_spec import DataSpec
from gan_core.game.variant import Options
from gan_core.plugins.find import FEATURES, Plugin
from gan_core.plugins.load import load_plugin
from gan_core.precision import without_tf32
from gan_core.settings.resolve import validated


@dataclass(frozen=True, kw_only=True, slots=True)
class LoadedFeatures:
    """An imported and checked kind of feature space, with the plugin it comes from and its options."""

    plugin: Plugin
    features: Features
    options: Options

    def check(self, data: DataSpec, flag: str) -> None:
        """Checks what is known of the data before it is read. `flag` chooses the feature space, for the error.

        Raises:
            UserError: The space needs labels and the data set has none.
        """
        if self.features.needs_labels and not data.classes:
            key = flag.removeprefix("--").replace("-", "_")
            raise UserError(
                f"{key}: {self.plugin.name!r} needs labels, but {data.name!r} has none. Use {flag} random, or data "
                "with labels: an image folder needs one subfolder per class"
            )

    def open(self, data: RealData, accelerator: Accelerator, console: Console) -> FeatureSpace:
        """Opens the space for this data on every process, the main one first.

        Raises:
            UserError: The space does not support this data, or is not the same on every machine.
            SpaceUnavailableError: Something that the space needs is missing.
        """
        space, missing = None, ""
        try:
            with main_first(accelerator), without_tf32():
                try:
                    space = self.features.open(self.options, data, accelerator.device, console)
                except SpaceUnavailableError as error:  # Caught inside the block: all processes synchronise at its end.
                    missing = str(error)
        except UserError:
            raise
        except ValueError as error:
            raise UserError(f"{self.plugin.label}: {error}") from error
        found = _in_all_processes(space.fingerprint if space else missing, accelerator)
        if len(found) > 1:
            raise UserError(
                f"{self.plugin.label} is not the same on all machines (sha256 {', '.join(sorted(found))}). "
                "Set XDG_CACHE_HOME to one shared cache folder on all of them"
            )
        if space is None:
            raise SpaceUnavailableError(missing)
        return space


def _in_all_processes(text: str, accelerator: Accelerator) -> set[str]:
    """Returns the first digits of the sha256 of each process's text. Tensors are sent: nothing is unpickled."""
    digest = list(hashlib.sha256(text.encode()).digest()[:4])
    gathered = accelerator.gather(torch.tensor([digest], dtype=torch.uint8, device=accelerator.device))
    return {bytes(row).hex() for row in gathered.tolist()}


def load_features(name: str, values: Mapping[str, object], others: Sequence[str] = ()) -> LoadedFeatures:
    """Imports the feature space called `name` and validates its options.

    Args:
        name: Its name.
        values: The options that differ from their defaults.
        others: The variant's sampling options, for the error of an unknown name.

    Raises:
        UserError: The plugin cannot be loaded (see `load_variant`), or an option or its value is not allowed.
    """
    plugin, features = load_plugin(name, FEATURES, Features, FEATURES_API)
    what = f"option of {name}" + (" and no sampling option" if others else "")
    options = validated(features.options, values, what=what, others=others)
    return LoadedFeatures(plugin=plugin, features=features, options=options)
