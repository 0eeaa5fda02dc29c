"""Reading back what trackers have written, from their own files."""

import json
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

OFFLINE = {"WANDB_MODE": "offline"}


def records(file: Path) -> Iterator[bytes]:
    """Reads a .wandb file: a LevelDB log, which is blocks of 32 KiB with chunks of (crc32, length, kind) and data."""
    content, at, record = file.read_bytes(), 7, b""
    assert content[:4] == b":W&B"
    while at + 7 <= len(content):
        if 32768 - at % 32768 < 7:  # Too short for a header: the rest of the block is padding.
            at += 32768 - at % 32768
            continue
        _, length, kind = struct.unpack_from("<IHB", content, at)
        record += content[at + 7 : at + 7 + length]
        at += 7 + length
        if kind in (1, 4):  # A complete record, or its last chunk.
            yield record
            record = b""


@dataclass
class Session:
    """What one offline session of Weights & Biases has recorded."""

    folder: Path
    run: Any = None
    config: dict[str, Any] = field(default_factory=dict)
    history: dict[int, dict[str, Any]] = field(default_factory=dict)
    summary: dict[str, Any] = field(default_factory=dict)
    metrics: list[Any] = field(default_factory=list)
    alerts: list[Any] = field(default_factory=list)
    artifacts: list[Any] = field(default_factory=list)
    environment: list[Any] = field(default_factory=list)

    def media(self, path: str) -> Path:
        """A file that the history names."""
        return self.folder / "files" / path


def read_wandb(run: Path) -> list[Session]:
    """Returns every offline session of a run, in their order."""
    from wandb.proto.wandb_internal_pb2 import Record

    sessions = []
    for file in sorted(run.glob("wandb/offline-run-*/*.wandb")):
        session = Session(file.parent)
        for data in records(file):
            record = Record()
            record.ParseFromString(data)
            kind = record.WhichOneof("record_type")
            if kind == "run":
                session.run = record.run
                session.config |= _items(record.run.config.update)
            elif kind == "config":
                session.config |= _items(record.config.update)
            elif kind == "summary":
                session.summary |= _items(record.summary.update)
            elif kind == "history":
                session.history.setdefault(record.history.step.num, {}).update(_items(record.history.item))
            elif kind in ("metric", "alert", "artifact", "environment"):
                found = {"metric": session.metrics, "alert": session.alerts, "artifact": session.artifacts}
                found.get(kind, session.environment).append(getattr(record, kind))
        sessions.append(session)
    return sessions


def _items(items: Any) -> dict[str, Any]:
    return {item.key or "/".join(item.nested_key): json.loads(item.value_json) for item in items}


def read_tensorboard(run: Path) -> Any:
    """Returns an accumulator of TensorBoard's own with the events of a run."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(run / "tensorboard"))
    events.Reload()
    return events
