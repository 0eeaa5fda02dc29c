"""Starting from the networks of another run (`init`), such as for fine-tuning on other data."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from gan_core.console import warn
from gan_core.errors import UserError
from gan_core.runs.checkpoint import Checkpoint
from gan_core.runs.folder import RunFolder
from gan_core.runs.selection import BEST, NEWEST, select
from gan_core.settings.resolve import read_settings
from gan_core.training.state import TrainingState

_MOST = 10
"""How many tensors that do not fit are named."""


def initial_checkpoint(init: str, folder: RunFolder) -> Checkpoint:
    """Returns the checkpoint that `init` names: "RUN", "RUN:newest", "RUN:best", or "RUN:IMAGES".

    Args:
        init: The setting.
        folder: The folder of the run that is to start.

    Raises:
        UserError: There is no such run or checkpoint.
    """
    path, _, which = init.rpartition(":")
    if not path or not (which in (NEWEST, BEST) or which.isdecimal()):
        path, which = init, NEWEST
    other = RunFolder(Path(path).expanduser())
    if other.root.resolve() == folder.root.resolve():
        raise UserError(f"init: {init!r} is the folder of this run. Use another --out")
    try:
        config = other.read_config()
        found = select(other, which, read_settings(config, str(other.config)).settings, warn)
    except UserError as error:
        raise UserError(f"init: {error}") from None
    if found is None:
        raise UserError(f"init: {str(other.root)!r} contains no intact checkpoint yet")
    return found


def initialise(state: TrainingState, found: Checkpoint) -> None:
    """Copies the networks and the averages of another run's checkpoint; optimizers and extra state start anew.

    Raises:
        UserError: They have other tensors, or tensors of other shapes. All are compared before any is copied.
    """
    averages = {f"ema-{name}": average.network for name, average in state.averages.items()}
    modules: dict[str, nn.Module] = {**state.networks, **averages}
    read = {name: found.tensors(name) for name in modules if (found.path / f"{name}.safetensors").exists()}
    wrong = [
        text for name, module in modules.items() for text in _differences(name, module.state_dict(), read.get(name))
    ]
    if wrong:
        more = f"\n  and {len(wrong) - _MOST} more" if len(wrong) > _MOST else ""
        raise UserError(
            f"init: the networks of {found.path} do not fit:\n" + "\n".join(wrong[:_MOST]) + more + "\n"
            "Use the variant, the options and the image size and channels of that run"
        )
    for name, module in modules.items():
        module.load_state_dict(read[name])


def _differences(name: str, ours: Mapping[str, Tensor], theirs: Mapping[str, Tensor] | None) -> list[str]:
    if theirs is None:
        return [f"  {name} is not there"]
    shapes = [{key: tuple(tensor.shape) for key, tensor in tensors.items()} for tensors in (ours, theirs)]
    return [
        f"  {name}.{key} is {_shown(shapes[1].get(key))} there, and {_shown(shapes[0].get(key))} here"
        for key in {**shapes[0], **shapes[1]}
        if shapes[0].get(key) != shapes[1].get(key)
    ]


def _shown(shape: tuple[int, ...] | None) -> str:
    return "missing" if shape is None else " x ".join(map(str, shape)) or "a number"


def described_initial(found: Checkpoint) -> dict[str, Any]:
    """Returns where the networks come from, for run.json."""
    other = RunFolder(found.path.parent.parent)
    metadata = other.read_metadata()
    kept = {key: metadata.get(key) for key in ("variant_distribution", "variant_version", "gan_core")}
    tables = (metadata.get("data") or {}).items()
    return {
        "run": str(other.root),
        "images_seen": found.images_seen,
        "variant": other.read_config()["variant"],
        **kept,
        "data": {table: about.get("fingerprint") for table, about in tables if isinstance(about, dict)},
    }
