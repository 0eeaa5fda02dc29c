"""Trackers: real offline runs, read back from their files, and trackers that fail."""

import json
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from gan_core.observers.trackers import Tracker

from gan_core.runs.folder import RunFolder
from tests.conftest import gan_core, metrics

TRAIN = (
    "train",
    "--variant",
    "dcgan",
    "--set",
    "width=4",
    "--batch",
    "32",
    "--set",
    "log_every=0.032",
    "--set",
    "threads=1",
)


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


def read_wandb(run: Path) -> list[dict[str, dict[str, Any]]]:
    """Returns, for every offline session of a run, its id, settings, and history by step."""
    from wandb.proto.wandb_internal_pb2 import Record

    sessions = []
    for file in sorted(run.glob("wandb/offline-run-*/*.wandb")):
        session: dict[str, dict[str, Any]] = {"run": {}, "config": {}, "history": {}}
        for data in records(file):
            record = Record()
            record.ParseFromString(data)
            if record.HasField("run"):
                session["run"] = {"id": record.run.run_id, "project": record.run.project}
            for update in (record.run.config.update, record.config.update):
                session["config"] |= {item.key: json.loads(item.value_json) for item in update}
            if record.HasField("history"):
                items = {
                    item.key or "/".join(item.nested_key): json.loads(item.value_json) for item in record.history.item
                }
                session["history"][str(record.history.step.num)] = items
        sessions.append(session)
    return sessions


def test_weights_and_biases_offline_needs_no_account_and_a_resumed_run_continues(tmp_path: Path) -> None:
    run, offline = tmp_path / "run", {"WANDB_MODE": "offline", "HOME": str(tmp_path)}
    gan_core(*TRAIN, "--steps", 3, "--out", run, "--track", "wandb", **offline)
    gan_core(*TRAIN, "--steps", 5, "--out", run, "--track", "wandb", **offline)
    first, second = read_wandb(run)
    assert first["run"]["id"] == second["run"]["id"] == json.loads((run / "run.json").read_text())["wandb_id"]
    assert first["run"]["project"] == "gan_core"
    assert first["config"]["variant"] == "dcgan"
    assert first["config"]["batch"] == 32
    assert first["config"]["options.width"] == 4
    assert list(first["history"]) == ["0", "32", "64", "96"]
    assert list(second["history"]) == ["128", "160"]
    lines = {str(line["images_seen"]): line for line in metrics(run)}
    for step, items in (first["history"] | second["history"]).items():
        if step != "0":
            for key, value in lines[step].items():
                assert items[key] == pytest.approx(value)
    grid = first["history"]["0"]
    assert grid["samples/_type"] == "images/separated"
    assert list(run.glob("wandb/offline-run-*/files/media/images/samples_*.png"))


def test_tensorboard(tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData

    run = tmp_path / "run"
    for steps in (3, 5):  # The second run resumes the first.
        gan_core(*TRAIN, "--steps", steps, "--out", run, "--track", "tensorboard")
    # What `tensorboard --logdir` finds below the folder of runs is one run, with its settings.
    written = [path for path in tmp_path.rglob("*") if "tfevents" in path.name or path.name == "hparams.yml"]
    assert {path.parent for path in written} == {run / "tensorboard"}
    events = EventAccumulator(str(run / "tensorboard"))
    events.Reload()
    lines = metrics(run)
    logged = [(event.step, event.value) for event in events.Scalars("discriminator/real")]
    assert [step for step, _ in logged] == [32, 64, 96, 128, 160]
    assert [value for _, value in logged] == pytest.approx([line["discriminator/real"] for line in lines])
    assert [event.step for event in events.Images("samples")] == [0, 96, 160]
    settings = HParamsPluginData.FromString(events.SummaryMetadata("_hparams_/session_start_info").plugin_data.content)
    assert settings.session_start_info.hparams["options.width"].number_value == 4
    assert settings.session_start_info.hparams["variant"].string_value == "dcgan"


def test_training_continues_without_a_tracker_that_fails(tmp_path: Path, train: Callable[..., str]) -> None:
    (tmp_path / "run").mkdir()
    # A file in place of TensorBoard's folder.
    (tmp_path / "run" / "tensorboard").write_text("in the way")
    status = train(
        "width=4", "track=tensorboard", "log_every=0.032", variant="dcgan", batch=32, steps=3, out=tmp_path / "run"
    )
    assert status == "finished"
    assert len(metrics(tmp_path / "run")) == 3


def test_a_failing_tracker_warns_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    class Failing:
        """An accelerator whose tracking service is down."""

        def log(self, line: dict[str, float], step: int) -> None:
            raise ConnectionError("no route to \x1b[31mhost")

    tracker = Tracker(Failing(), "wandb", RunFolder(tmp_path))  # type: ignore[arg-type]
    tracker.log({"images_seen": 1})
    tracker.log({"images_seen": 2})
    assert capsys.readouterr().err.splitlines() == [
        r"warning: wandb failed and is disabled for the rest of the run: ConnectionError: no route to \x1b[31mhost"
    ]
