"""The run's folder.

config.yaml      every setting, resolved; a valid file for `train --config`
run.json         run metadata: status, data, versions of the variant and of libraries
metrics.jsonl    one line per log point
evaluation.json  see gan_core.evaluation.record, as for evaluation-in-training.json
samples/         grids of samples, named by images seen
checkpoints/     see gan_core.runs.checkpoint
"""

import hashlib
import json
import math
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import yaml

from gan_core.documents import read_json, read_regular, read_yaml
from gan_core.errors import UserError
from gan_core.runs.atomic import remove_unfinished, unused, write_atomically
from gan_core.settings.resolve import RUN_METADATA

_METADATA = {
    "status": str,
    "length": int,
    "images_seen": int,
    "images_saved": int,
    "process": dict,
    "data": dict,
    "device": dict,
    "alarms": list,
}
"""The types of the run metadata that gan_core reads."""
_ALL, _END = 2**40, 100_000
"""Bytes of metrics.jsonl that are read at most, and for its last line."""


class RunFolder:
    """Paths and small files of one run. Only the main process writes to it."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.config = root / "config.yaml"
        self.metadata = root / RUN_METADATA
        self.metrics = root / "metrics.jsonl"
        self.evaluation = root / "evaluation.json"
        self.evaluation_in_training = root / "evaluation-in-training.json"
        self.samples = root / "samples"
        self.checkpoints = root / "checkpoints"

    @property
    def exists(self) -> bool:
        """Whether a run was started here, also one that has lost some of its files."""
        files = any(path.exists() for path in (self.config, self.metadata, self.metrics))
        return files or (self.checkpoints.is_dir() and any(self.checkpoints.iterdir()))

    def create(self) -> None:
        """Creates the folders, and removes temporary files of a process that was killed.

        Raises:
            UserError: They cannot be written.
        """
        try:
            for folder in (self.root, self.samples, self.checkpoints):
                folder.mkdir(parents=True, exist_ok=True)
            for folder in (self.root, self.samples):
                remove_unfinished(folder)
        except OSError as error:
            raise UserError(f"out: {str(self.root)!r} cannot be written: {error}") from None

    def read_config(self) -> dict[str, Any]:
        """Returns the settings with which the run was last started.

        Raises:
            UserError: There is no run here, or its settings are not readable.
        """
        if not self.config.exists():
            raise UserError(f"{str(self.root)!r} is not a run: it has no config.yaml")
        config = self._mapping(self.config, read_yaml)
        if not all(isinstance(config.get(key), str) for key in ("variant", "dataset")):
            raise UserError(f"{str(self.config)!r} is damaged: it names no variant and data set")
        return config

    def write_config(self, values: Mapping[str, Any]) -> None:
        """Replaces the settings."""
        write_atomically(self.config, yaml.safe_dump(dict(values), sort_keys=False, allow_unicode=True))

    def read_metadata(self) -> dict[str, Any]:
        """Returns the run metadata: status, data, versions; empty if the file is missing.

        Raises:
            UserError: The file is damaged.
        """
        if not self.metadata.exists():
            return {}
        metadata = self._mapping(self.metadata, read_json)
        for key, kind in _METADATA.items():
            value = metadata.get(key)
            valid = isinstance(value, kind) and (kind is not int or _counts(value))
            if value is not None and not valid:
                raise UserError(f"{str(self.metadata)!r} is damaged: {key} is {value!r:.80}")
        return metadata

    def _mapping(self, file: Path, read: Callable[[Path], Any]) -> dict[str, Any]:
        values = read(file)
        if not isinstance(values, dict) or not all(isinstance(key, str) for key in values):
            raise UserError(f"{str(file)!r} is damaged: it holds no `key: value` lines")
        return values

    def write_metadata(self, *, anew: bool = False, **metadata: object) -> None:
        """Adds to the run metadata, or replaces values in it, or with `anew` all of it."""
        before = {} if anew else self.read_metadata()
        write_atomically(self.metadata, json.dumps(before | metadata, indent=2) + "\n")

    def append_metrics(self, line: Mapping[str, float]) -> None:
        """Appends the line of a log point and flushes it to disk, so that no later checkpoint exists without it."""
        with self.metrics.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
            file.flush()
            os.fsync(file.fileno())

    def read_metrics(self) -> list[dict[str, float]]:
        """Returns the lines, except a last one that a crash left incomplete."""
        if not self.metrics.exists():
            return []
        return [line for _, line in _lines(self._bytes_of_metrics(_ALL))]

    def read_last_metrics(self) -> dict[str, float]:
        """Returns the last line; reads only the end of the file. Empty before the first log point."""
        lines = _lines(self._bytes_of_metrics(_END)) if self.metrics.exists() else []
        return lines[-1][1] if lines else {}

    def logged(self) -> dict[str, Any]:
        """Returns the size and the sha256 of metrics.jsonl, which a checkpoint holds; see `metrics_changed`."""
        return _seal(self._bytes_of_metrics(_ALL) if self.metrics.exists() else b"")

    def metrics_changed(self, logged: object) -> str | None:
        """Returns how metrics.jsonl differs from that of a checkpoint, or None.

        Args:
            logged: `logged()` at the checkpoint. Lines may have been added since; None for checkpoints of gan_core
                0.1.0, which do not hold it.
        """
        if logged is None:
            return None
        content = self._bytes_of_metrics(_ALL) if self.metrics.exists() else b""
        if _starts_as(content, logged):
            return None
        return f"{len(content)} bytes, and not those logged until then" if self.metrics.exists() else "missing"

    def _bytes_of_metrics(self, most: int) -> bytes:
        try:
            return read_regular(self.metrics, most, last=True)
        except (OSError, ValueError) as error:
            raise UserError(f"{str(self.metrics)!r} cannot be read: {error}") from None

    def rewind_metrics(self, images_seen: int, logged: object = None) -> None:
        """Drops the lines after `images_seen`, which a resumed run logs again, and an incomplete last line.

        Args:
            images_seen: Images seen at the checkpoint from which the run resumes.
            logged: `logged()` at that checkpoint. A file that has changed since is kept as metrics.jsonl.damaged.
        """
        if not self.metrics.exists():
            return
        content, whole = self._bytes_of_metrics(_ALL), 0
        if isinstance(logged, dict) and _starts_as(content, logged):
            whole = logged["size"]  # These bytes stay as they are: they are those that the checkpoint knows.
        elif logged is not None:
            write_atomically(unused(self.metrics.with_name(f"{self.metrics.name}.damaged")), content)
        kept = [text for text, line in _lines(content[whole:]) if line["images_seen"] <= images_seen]
        write_atomically(self.metrics, b"".join([content[:whole], *kept]))


def _seal(content: bytes) -> dict[str, Any]:
    return {"size": len(content), "sha256": hashlib.sha256(content).hexdigest()}


def _starts_as(content: bytes, logged: object) -> bool:
    size = logged.get("size") if isinstance(logged, dict) else None
    return isinstance(size, int) and _seal(content[:size]) == logged


def _lines(content: bytes) -> list[tuple[bytes, dict[str, float]]]:
    """Returns the lines that are log lines, as they are and read: numbers by name, at a number of images."""
    lines = []
    for text in content.splitlines(keepends=True):
        try:
            line = json.loads(text.decode(errors="replace"))
        except (ValueError, RecursionError):
            continue
        if text.endswith(b"\n") and isinstance(line, dict) and _counts(line.get("images_seen")):
            lines.append((text, {key: value for key, value in line.items() if _is_number(value)}))
    return lines


def _counts(value: object) -> bool:
    return _is_number(value) and isinstance(value, int) and value >= 0


def _is_number(value: object) -> bool:
    if isinstance(value, float):
        return math.isfinite(value)
    return isinstance(value, int) and not isinstance(value, bool) and abs(value) < 2**63
