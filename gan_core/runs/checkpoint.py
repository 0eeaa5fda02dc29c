"""Checkpoints that are whole or not there, and that execute nothing when they are read.

    checkpoints/000064000/
        generator.safetensors  discriminator.safetensors  ema-generator.safetensors
        optimizer-generator.pt  optimizer-discriminator.pt
        manifest.json          images seen, and each file's size and sha256: written last

One is written under another name, forced to disk, and renamed. Only then are old ones removed: see
gan_core.runs.retention.
"""

import hashlib
import json
import pickle
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from gan_core.errors import UserError
from gan_core.runs.atomic import sync
from gan_core.runs.disk import check_room

_MANIFEST = "manifest.json"


@dataclass(frozen=True, kw_only=True, slots=True)
class Checkpoint:
    """A whole checkpoint, verified against its manifest."""

    path: Path
    images_seen: int

    def tensors(self, name: str, device: str = "cpu") -> dict[str, Tensor]:
        """Reads `name.safetensors`.

        Raises:
            UserError: It is no such file.
        """
        file = self.path / f"{name}.safetensors"
        try:
            return load_file(file, device=device)
        except SafetensorError as error:
            raise UserError(f"checkpoint {file} is no safetensors file ({error})") from error

    def state(self, name: str) -> dict[str, Any]:
        """Reads `name.pt`.

        Raises:
            UserError: It holds anything but tensors and plain values; such a file is not executed.
        """
        file = self.path / f"{name}.pt"
        try:
            return dict(torch.load(file, map_location="cpu", weights_only=True))
        except pickle.UnpicklingError as error:
            raise UserError(f"checkpoint {file} holds something other than tensors and plain values") from error


def save(
    folder: Path,
    images_seen: int,
    tensors: Mapping[str, Mapping[str, Tensor]],
    states: Mapping[str, Mapping[str, Any]],
) -> Path:
    """Writes a checkpoint and returns its folder.

    Args:
        folder: The run's folder of checkpoints.
        images_seen: Its name and its place in the order.
        tensors: Weights by network.
        states: What else must survive, by name: tensors and plain values.

    Raises:
        DiskFullError: There is no room for it; whatever was written before is as it was.
    """
    final = folder / f"{images_seen:09d}"
    new = folder / f".{final.name}.new"
    for unfinished in folder.glob(".*.new"):
        shutil.rmtree(unfinished)
    folder.mkdir(parents=True, exist_ok=True)
    check_room(folder, _bytes([*tensors.values(), *states.values()]))
    try:
        _write(new, images_seen, tensors, states)
    except BaseException:
        shutil.rmtree(new, ignore_errors=True)  # Half a checkpoint is of no use, and in the way where room is scarce.
        raise
    shutil.rmtree(final, ignore_errors=True)
    new.rename(final)
    sync(folder)
    return final


def _write(
    new: Path, images_seen: int, tensors: Mapping[str, Mapping[str, Tensor]], states: Mapping[str, Mapping[str, Any]]
) -> None:
    new.mkdir()
    for name, weights in tensors.items():
        # Tied and strided tensors are legal in a module, but not in the file.
        plain = {key: tensor.detach().cpu().contiguous().clone() for key, tensor in weights.items()}
        save_file(plain, new / f"{name}.safetensors")
    for name, state in states.items():
        # Through memory: torch's own writer hides why it could not write.
        content = BytesIO()
        torch.save(dict(state), content)
        (new / f"{name}.pt").write_bytes(content.getbuffer())
    files = {path.name: {"size": path.stat().st_size, "sha256": _sha256(path)} for path in sorted(new.iterdir())}
    manifest = {"images_seen": images_seen, "files": files}
    (new / _MANIFEST).write_text(json.dumps(manifest, indent=2) + "\n", encoding="utf-8")
    for path in (*new.iterdir(), new):
        sync(path)


def _bytes(value: object) -> int:
    """Returns the size of all tensors in nested mappings and sequences."""
    if isinstance(value, Tensor):
        return value.nbytes
    if isinstance(value, Mapping):
        return sum(map(_bytes, value.values()))
    return sum(map(_bytes, value)) if isinstance(value, list | tuple) else 0


def newest(folder: Path, warn: Callable[[str], None]) -> Checkpoint | None:
    """Returns the newest checkpoint that is whole, or None; says of each that it passes over, and why."""
    for path in numbered(folder):
        problem = _problem(path)
        if problem is None:
            return Checkpoint(path=path, images_seen=int(path.name))
        warn(f"checkpoint {path} is passed over: {problem}")
    return None


def numbered(folder: Path) -> list[Path]:
    """Returns the checkpoints, whole or not, the newest first; unfinished ones have a name that is no number."""
    if not folder.is_dir():
        return []
    found = [path for path in folder.iterdir() if path.name.isdecimal() and path.is_dir()]
    return sorted(found, key=lambda path: int(path.name), reverse=True)


def _problem(path: Path) -> str | None:
    """Returns what is wrong with a checkpoint, or None."""
    try:
        manifest = json.loads((path / _MANIFEST).read_text(encoding="utf-8"))
        for name, expected in manifest["files"].items():
            file = path / Path(name).name
            if not file.is_file():
                return f"{name} is missing"
            if file.stat().st_size != expected["size"]:
                return f"{name} has {file.stat().st_size} bytes instead of {expected['size']}"
            if _sha256(file) != expected["sha256"]:
                return f"{name} is not what was written (its sha256 differs)"
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        return f"its {_MANIFEST} cannot be read ({error})"
    return None


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
