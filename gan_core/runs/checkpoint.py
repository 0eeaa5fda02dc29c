"""Checkpoints: written atomically, verified before use, and read without executing code.

    checkpoints/000064000/
        generator.safetensors  discriminator.safetensors  ema-generator.safetensors
        optimizer-generator.pt  optimizer-discriminator.pt
        manifest.json          images seen, each file's size and sha256, and those of metrics.jsonl; written last

A checkpoint is written under a temporary name, synced to disk, and renamed. Old ones are removed only then: see
gan_core.runs.retention.
"""

import hashlib
import json
import pickle
import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from gan_core.documents import load_json
from gan_core.errors import UserError
from gan_core.runs.atomic import sync, unused
from gan_core.runs.disk import check_space

_MANIFEST = "manifest.json"


@dataclass(frozen=True, kw_only=True, slots=True)
class Checkpoint:
    """An intact checkpoint, verified against its manifest."""

    path: Path
    images_seen: int

    @property
    def logged(self) -> Any:
        """`RunFolder.logged` when it was written; None in checkpoints of gan_core 0.1.0."""
        return load_json(self.path / _MANIFEST).get("metrics")

    def tensors(self, name: str, device: str = "cpu") -> dict[str, Tensor]:
        """Reads `name.safetensors`.

        Raises:
            UserError: It is not a valid safetensors file.
        """
        file = self.path / f"{name}.safetensors"
        try:
            return load_file(file, device=device)
        except SafetensorError as error:
            raise UserError(f"checkpoint {file} is not a valid safetensors file ({error})") from error

    def state(self, name: str) -> dict[str, Any]:
        """Reads `name.pt`.

        Raises:
            UserError: It holds anything but tensors and plain values; no code in it is executed.
        """
        file = self.path / f"{name}.pt"
        try:
            return dict(torch.load(file, map_location="cpu", weights_only=True))
        except OSError:
            raise
        except Exception as error:  # Of bytes that torch has not written, its reader raises anything.
            raise UserError(f"checkpoint {file} holds something other than tensors and plain values") from error


def save(
    folder: Path,
    images_seen: int,
    tensors: Mapping[str, Mapping[str, Tensor]],
    states: Mapping[str, Mapping[str, Any]],
    logged: Mapping[str, Any] | None = None,
) -> Path:
    """Writes a checkpoint and returns its folder.

    Args:
        folder: The run's checkpoint folder.
        images_seen: Images seen so far; names the checkpoint and orders it.
        tensors: Weights by network.
        states: Other state by name: tensors and plain values.
        logged: What identifies the log of the run until now.

    Raises:
        DiskFullError: There is not enough space; earlier checkpoints are unchanged.
    """
    final = folder / f"{images_seen:09d}"
    new = folder / f".{final.name}.new"
    for unfinished in folder.glob(".*.new"):
        if unfinished.is_dir() and not unfinished.is_symlink():
            shutil.rmtree(unfinished)
        else:
            unfinished.unlink()
    folder.mkdir(parents=True, exist_ok=True)
    check_space(folder, _bytes([*tensors.values(), *states.values()]))
    try:
        _write(new, {"images_seen": images_seen, "metrics": logged}, tensors, states)
    except BaseException:
        shutil.rmtree(new, ignore_errors=True)  # An unfinished checkpoint is useless and takes space.
        raise
    shutil.rmtree(final, ignore_errors=True)
    new.rename(final)
    sync(folder)
    return final


def _write(
    new: Path,
    manifest: Mapping[str, Any],
    tensors: Mapping[str, Mapping[str, Tensor]],
    states: Mapping[str, Mapping[str, Any]],
) -> None:
    new.mkdir()
    for name, weights in tensors.items():
        # safetensors rejects tied and non-contiguous tensors, which are legal in a module.
        plain = {key: tensor.detach().cpu().contiguous().clone() for key, tensor in weights.items()}
        save_file(plain, new / f"{name}.safetensors")
    for name, state in states.items():
        # Serialise to memory first: torch's file writer hides the OSError.
        (new / f"{name}.pt").write_bytes(serialised(name, state))
    files = {path.name: {"size": path.stat().st_size, "sha256": _sha256(path)} for path in sorted(new.iterdir())}
    (new / _MANIFEST).write_text(json.dumps({**manifest, "files": files}, indent=2) + "\n", encoding="utf-8")
    for path in (*new.iterdir(), new):
        sync(path)


def serialised(name: str, state: Mapping[str, Any]) -> memoryview:
    """Returns the content of the file of a state, which has been read back as a resume reads it.

    Raises:
        UserError: It holds something other than tensors and plain values; the message names its key.
    """
    try:
        return _readable(dict(state))
    except _UNREADABLE:
        key, value = next(_unreadable("", state), ("", state))
        raise UserError(
            f"{name}{key} is a {type(value).__module__}.{type(value).__qualname__}, which could not be read from a "
            "checkpoint. Use tensors, numbers, strings, lists and dicts"
        ) from None


_UNREADABLE = (pickle.PickleError, AttributeError, TypeError)


def _readable(value: object) -> memoryview:
    content = BytesIO()
    torch.save(value, content)
    content.seek(0)
    torch.load(content, weights_only=True)
    return content.getbuffer()


def _unreadable(path: str, value: object) -> Iterator[tuple[str, object]]:
    """Finds the innermost values that cannot be read back, with their keys."""
    try:
        _readable(value)
    except _UNREADABLE:
        items = (
            value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list | tuple) else ()
        )
        for key, inner in items:
            yield from _unreadable(f"{path}.{key}", inner)
        yield path, value


def _bytes(value: object) -> int:
    """Returns the size of all tensors in nested mappings and sequences."""
    if isinstance(value, Tensor):
        return value.nbytes
    if isinstance(value, Mapping):
        return sum(map(_bytes, value.values()))
    return sum(map(_bytes, value)) if isinstance(value, list | tuple) else 0


def newest(folder: Path, warn: Callable[[str], None]) -> Checkpoint | None:
    """Returns the newest intact checkpoint, or None. Calls `warn` with the reason for each one that it skips.

    Raises:
        UserError: The operating system cannot read the folder or a file: that is no damage, and an older checkpoint is
            not used instead.
    """
    try:
        for path in numbered(folder):
            problem = _problem(path)
            if problem is None:
                return Checkpoint(path=path, images_seen=int(path.name))
            warn(f"checkpoint {path} is skipped: {problem}")
    except OSError as error:
        raise UserError(f"checkpoints in {str(folder)!r} cannot be read: {error}") from None
    return None


def intact(path: Path) -> Checkpoint:
    """Returns the checkpoint in a folder.

    Raises:
        UserError: It is damaged or cannot be read.
    """
    try:
        problem = _problem(path)
    except OSError as error:
        problem = str(error)
    if problem is not None:
        raise UserError(f"checkpoint {path} is damaged: {problem}")
    return Checkpoint(path=path, images_seen=int(path.name))


def set_aside(folder: Path, images_seen: int) -> None:
    """Renames the checkpoints after `images_seen`, which were skipped as damaged, to NUMBER.damaged or similar.

    So they are neither removed nor overwritten by a run that reaches their number again.
    """
    for path in numbered(folder):
        if int(path.name) > images_seen:
            path.rename(unused(path.with_name(f"{path.name}.damaged")))


def numbered(folder: Path) -> list[Path]:
    """Returns all checkpoints, intact or damaged, newest first, without unfinished ones (their name is no number).

    A damaged one may be anything: a file in the place of a folder is one.
    """
    if not folder.is_dir():
        return []
    found = [path for path in folder.iterdir() if path.name.isdecimal()]
    return sorted(found, key=lambda path: int(path.name), reverse=True)


def _problem(path: Path) -> str | None:
    """Returns what is wrong with a checkpoint, or None."""
    if not path.is_dir():
        return "it is not a folder"
    try:
        manifest = load_json(path / _MANIFEST)
        if manifest["images_seen"] != int(path.name):
            return f"its {_MANIFEST} is of {manifest['images_seen']!r:.80} images"
        if unlisted := {file.name for file in path.iterdir()} - {*manifest["files"], _MANIFEST}:
            return f"its {_MANIFEST} does not list {min(unlisted)}"
        for name, expected in manifest["files"].items():
            file = path / Path(name).name
            if not file.is_file():
                return f"{name} is missing"
            if file.stat().st_size != expected["size"]:
                return f"{name} has {file.stat().st_size} bytes instead of {expected['size']}"
            if _sha256(file) != expected["sha256"]:
                return f"{name} has changed since it was written (its sha256 differs)"
    except (FileNotFoundError, ValueError, KeyError, TypeError, AttributeError) as error:
        return f"its {_MANIFEST} cannot be read ({error})"
    return None


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
