"""Faults in config.yaml, run.json and metrics.jsonl."""

import json
import os
import shutil
from pathlib import Path
from typing import Any

import yaml

from tests.faults.checkpoints import flip
from tests.faults.scene import Scene, remove
from tests.test_documents import BOMB

JUNK = (b"", b"null", b"7", b"[1, 2]", b'{"status": "fin', bytes(range(256)), bytes(9999), BOMB.encode(), b"[" * 99_999)
WRONG: tuple[Any, ...] = (None, [], {}, "x", "\x1b[2J", -1, 0, True, 10**400, 1e308, [[[[]]]], {"a": 1}, "\ud800")


def _either(scene: Scene) -> Path:
    return scene.run / scene.chance.choice(["run.json", "config.yaml"])


def cut_document(scene: Scene) -> None:
    file = _either(scene)
    os.truncate(file, scene.chance.randrange(file.stat().st_size))


def flipped_bit_in_document(scene: Scene) -> None:
    flip(scene, _either(scene))


def junk_document(scene: Scene) -> None:
    _either(scene).write_bytes(scene.chance.choice(JUNK))


def no_file_for_document(scene: Scene) -> None:
    odd(scene, _either(scene))


def odd(scene: Scene, path: Path) -> None:
    """Puts something in a file's place that is no file."""
    remove(path)
    kind = scene.chance.choice(["folder", "pipe", "link to itself", "broken link", "device"])
    if kind == "folder":
        path.mkdir()
    elif kind == "pipe":
        os.mkfifo(path)
    else:
        path.symlink_to({"link to itself": path.name, "broken link": "nowhere", "device": "/dev/zero"}[kind])


def missing_document(scene: Scene) -> None:
    _either(scene).unlink()


def missing_document_and_checkpoints(scene: Scene) -> None:
    _either(scene).unlink()
    remove(scene.run / "checkpoints")


def wrong_value_in_run_json(scene: Scene) -> None:
    file = scene.run / "run.json"
    values = json.loads(file.read_text())
    into = scene.chance.choice([values, values, values["process"], values["data"]])
    into[scene.chance.choice(sorted(into))] = scene.chance.choice(WRONG)
    if scene.chance.random() < 0.3:
        remove(scene.run / "checkpoints")  # So that its numbers count.
    file.write_text(json.dumps(values))


def not_finite_in_run_json(scene: Scene) -> None:
    file = scene.run / "run.json"
    values = json.loads(file.read_text())
    values[scene.chance.choice(sorted(values))] = scene.chance.choice([float("nan"), float("inf"), -float("inf")])
    file.write_text(json.dumps(values))


def unknown_keys_in_run_json(scene: Scene) -> None:
    file = scene.run / "run.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"wandb_id": "x", "": {}, "colour": [1, 2]}))


def wrong_value_in_config(scene: Scene) -> None:
    file = scene.run / "config.yaml"
    values = yaml.safe_load(file.read_text())
    into = scene.chance.choice([values, values["options"]])
    into[scene.chance.choice(sorted(into))] = scene.chance.choice(WRONG[:-1])
    file.write_text(yaml.safe_dump(values))


def unknown_key_in_config(scene: Scene) -> None:
    file = scene.run / "config.yaml"
    unknown = scene.chance.choice(["colour: red\noptions:", "options:\n  hue: 1"])
    file.write_text(file.read_text().replace("options:", unknown))


def document_of_another_variant(scene: Scene) -> None:
    file = _either(scene)
    shutil.copy(scene.other() / file.name, file)


def document_of_another_seed(scene: Scene) -> None:
    file = _either(scene)
    shutil.copy(scene.twin() / file.name, file)


def metrics_cut_in_the_last_line(scene: Scene) -> None:
    file = scene.run / "metrics.jsonl"
    with file.open("a") as log:
        log.write('{"images_seen": 4')


def metrics_with_junk_after(scene: Scene) -> None:
    junk = [b"\n\n", b"NaN\n", b"[" * 9999 + b"\n", b'{"images_seen": 99999}\n', b'{"images_seen": NaN}\n', bytes(999)]
    with (scene.run / "metrics.jsonl").open("ab") as log:
        log.write(scene.chance.choice(junk))


def metrics_cut(scene: Scene) -> None:
    file = scene.run / "metrics.jsonl"
    os.truncate(file, scene.chance.randrange(file.stat().st_size // 2))


def metrics_flipped_bit(scene: Scene) -> None:
    file = scene.run / "metrics.jsonl"
    data = bytearray(file.read_bytes())
    data[scene.chance.randrange(len(data) // 2)] ^= 1 << scene.chance.randrange(8)
    file.write_bytes(data)


def metrics_without_a_line(scene: Scene) -> None:
    file = scene.run / "metrics.jsonl"
    logged = file.read_text().splitlines(keepends=True)
    at = scene.chance.randrange(len(logged) // 2)
    instead = scene.chance.choice([[], ["junk\n"], logged[at : at + 1] * 2])
    file.write_text("".join([*logged[:at], *instead, *logged[at + 1 :]]))


def metrics_removed(scene: Scene) -> None:
    (scene.run / "metrics.jsonl").unlink()


def metrics_is_no_file(scene: Scene) -> None:
    odd(scene, scene.run / "metrics.jsonl")


def metrics_of_another_seed(scene: Scene) -> None:
    shutil.copy(scene.twin() / "metrics.jsonl", scene.run)
