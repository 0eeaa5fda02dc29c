"""The run's folder.

config.yaml      every setting, resolved; a valid file for `train --config`
run.json         run metadata: status, data, versions of the variant and of libraries
metrics.jsonl    one line per log point
evaluation.json  see gan_core.evaluation.record
samples/         grids of samples, named by images seen
checkpoints/     see gan_core.runs.checkpoint
"""

import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import yaml

from gan_core.errors import UserError
from gan_core.runs.atomic import remove_unfinished, write_atomically


class RunFolder:
    """Paths and small files of one run. Only the main process writes to it."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.config = root / "config.yaml"
        self.metadata = root / "run.json"
        self.metrics = root / "metrics.jsonl"
        self.evaluation = root / "evaluation.json"
        self.samples = root / "samples"
        self.checkpoints = root / "checkpoints"

    @property
    def exists(self) -> bool:
        """Whether a run was started here."""
        return self.config.exists()

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
        if not self.exists:
            raise UserError(f"{str(self.root)!r} is not a run: it has no config.yaml")
        return self._mapping(self.config, yaml.safe_load)

    def write_config(self, values: Mapping[str, Any]) -> None:
        """Replaces the settings."""
        write_atomically(self.config, yaml.safe_dump(dict(values), sort_keys=False, allow_unicode=True))

    def read_metadata(self) -> dict[str, Any]:
        """Returns the run metadata: status, data, versions; empty if the file is missing.

        Raises:
            UserError: The file is damaged.
        """
        return self._mapping(self.metadata, json.loads) if self.metadata.exists() else {}

    def _mapping(self, file: Path, parse: Callable[[str], Any]) -> dict[str, Any]:
        try:
            values = parse(file.read_text(encoding="utf-8"))
        except (OSError, ValueError, yaml.YAMLError) as error:
            raise UserError(f"{str(file)!r} cannot be read: {error}") from None
        if not isinstance(values, dict):
            raise UserError(f"{str(file)!r} is damaged: it holds no `key: value` lines")
        return values

    def write_metadata(self, **metadata: object) -> None:
        """Adds to the run metadata, or replaces values in it."""
        write_atomically(self.metadata, json.dumps(self.read_metadata() | metadata, indent=2) + "\n")

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
        lines = []
        for text in self.metrics.read_text(encoding="utf-8", errors="replace").splitlines(keepends=True):
            try:
                line = json.loads(text)
            except ValueError:
                continue
            if isinstance(line, dict) and "images_seen" in line and text.endswith("\n"):
                lines.append(line)
        return lines

    def rewind_metrics(self, images_seen: int) -> None:
        """Drops the lines after `images_seen`, which a resumed run logs again, and an incomplete last line."""
        kept = [json.dumps(line) + "\n" for line in self.read_metrics() if line["images_seen"] <= images_seen]
        if self.metrics.exists():
            write_atomically(self.metrics, "".join(kept))
