"""Faults in checkpoints: files that are cut, changed, swapped, missing or of another run."""

import hashlib
import json
import os
import shutil
from pathlib import Path

from tests.faults.scene import BATCH, STEPS, Scene, checkpoints, remove


def _file(scene: Scene, *, manifest: bool = True) -> Path:
    return scene.chance.choice(
        sorted(path for path in scene.newest.iterdir() if manifest or path.name != "manifest.json")
    )


def cut_file(scene: Scene) -> None:
    file = _file(scene)
    os.truncate(file, scene.chance.randrange(1, file.stat().st_size - 1))


def flipped_bit(scene: Scene) -> None:
    flip(scene, _file(scene))


def flip(scene: Scene, file: Path) -> None:
    """Changes one bit of a file."""
    data = bytearray(file.read_bytes())
    data[scene.chance.randrange(len(data))] ^= 1 << scene.chance.randrange(8)
    file.write_bytes(data)


def empty_file(scene: Scene) -> None:
    os.truncate(_file(scene), 0)


def zeros_in_file(scene: Scene) -> None:
    file = _file(scene)
    file.write_bytes(bytes(file.stat().st_size))  # As some file systems leave it after a power cut.


def folder_for_file(scene: Scene) -> None:
    file = _file(scene)
    file.unlink()
    file.mkdir()


def pipe_for_file(scene: Scene) -> None:
    file = _file(scene)
    file.unlink()
    os.mkfifo(file)


def looping_link_for_file(scene: Scene) -> None:
    file = _file(scene)
    file.unlink()
    file.symlink_to(file.name)


def missing_file(scene: Scene) -> None:
    _file(scene).unlink()


def extra_file(scene: Scene) -> None:
    (scene.newest / scene.chance.choice([".DS_Store", "critic.safetensors", "optimizer-generator.pt~"])).write_bytes(
        b"x"
    )


def swapped_files(scene: Scene) -> None:
    one, other = scene.chance.sample(sorted(scene.newest.glob("*generator*")), 2)
    first = one.read_bytes()
    one.write_bytes(other.read_bytes())
    other.write_bytes(first)


def older_file(scene: Scene) -> None:
    file = _file(scene, manifest=False)
    shutil.copy(checkpoints(scene.run)[-2] / file.name, file)


def junk_manifest(scene: Scene) -> None:
    junk = (b"", b"null", b"[]", b"7", b'{"files": NaN}', b'{"a":' * 50_000, b"[" * 200_000, bytes(range(256)))
    (scene.newest / "manifest.json").write_bytes(scene.chance.choice(junk))


def wrong_types_in_manifest(scene: Scene) -> None:
    path = scene.newest / "manifest.json"
    manifest = json.loads(path.read_text())
    name = scene.chance.choice(sorted(manifest["files"]))
    wrong = scene.chance.choice([None, [], "x", -1, 1e308, True, {}, 10**400, "\x1b[2J", "\ud800"])
    change = scene.chance.choice(["images_seen", "files", "entry", "size", "sha256", "name"])
    if change in ("images_seen", "files"):
        manifest[change] = wrong
    elif change == "entry":
        manifest["files"][name] = wrong
    elif change == "name":
        manifest["files"][scene.chance.choice(["\x1b[2J", "\0", "../x", "", "\ud800", "a" * 5000])] = {}
    else:
        manifest["files"][name][change] = wrong
    path.write_text(json.dumps(manifest))


def newest_removed(scene: Scene) -> None:
    shutil.rmtree(scene.newest)


def all_removed(scene: Scene) -> None:
    folder = scene.run / "checkpoints"
    remove(folder)
    if scene.chance.random() < 0.5:  # An unmounted disk leaves its empty folder.
        folder.mkdir()


def all_damaged(scene: Scene) -> None:
    for path in checkpoints(scene.run):
        file = scene.chance.choice(sorted(path.iterdir()))
        os.truncate(file, scene.chance.randrange(file.stat().st_size))


def renamed(scene: Scene) -> None:
    scene.newest.rename(scene.newest.with_name(scene.chance.choice(["000000321", "000009999", "321"])))


def two_renamed(scene: Scene) -> None:
    older, newer = checkpoints(scene.run)[-2:]
    older.rename(older.with_name("x"))
    newer.rename(older)
    older.with_name("x").rename(newer)


def torn_write(scene: Scene) -> None:
    """What a kill during the writing of a checkpoint leaves."""
    torn = scene.run / "checkpoints" / f".{int(scene.newest.name) + 64:09d}.new"
    torn.mkdir()
    shutil.copy(scene.newest / "generator.safetensors", torn)
    os.truncate(torn / "generator.safetensors", 99)


def stale_new(scene: Scene) -> None:
    """A file or a link in the place of a temporary folder."""
    path = scene.run / "checkpoints" / scene.chance.choice([".000000384.new", ".x.new"])
    if scene.chance.random() < 0.5:
        path.write_bytes(b"x")
    else:
        path.symlink_to(scene.chance.choice(["nowhere", str(scene.newest), path.name]))


def file_for_checkpoint(scene: Scene) -> None:
    path = scene.newest
    shutil.rmtree(path)
    kind = scene.chance.choice(["file", "broken link", "link to itself", "pipe"])
    if kind == "file":
        path.write_bytes(b"x")
    elif kind == "pipe":
        os.mkfifo(path)
    else:
        path.symlink_to("nowhere" if kind == "broken link" else path.name)


def empty_checkpoint(scene: Scene) -> None:
    number = scene.chance.choice([int(scene.newest.name) + 64, STEPS * BATCH, 999_999_999])
    (scene.run / "checkpoints" / f"{number:09d}").mkdir()


def file_for_checkpoints(scene: Scene) -> None:
    remove(scene.run / "checkpoints")
    scene.replace(scene.run / "checkpoints", b"x")


def of_another_variant(scene: Scene) -> None:
    _adopt(scene, scene.other())


def of_another_seed(scene: Scene) -> None:
    _adopt(scene, scene.twin())


def _adopt(scene: Scene, run: Path) -> None:
    """Copies the newest checkpoint of another run, as it is, over the one of this number or as the newest."""
    theirs = checkpoints(run)[-1]
    for path in checkpoints(scene.run):
        if path.name >= theirs.name:
            shutil.rmtree(path)
    shutil.copytree(theirs, scene.run / "checkpoints" / theirs.name)


def signed_junk(scene: Scene) -> None:
    """A file of something else, with its right hash in the manifest."""
    file = _file(scene, manifest=False)
    junk = [b"", b"x", bytes(1000), b"PK\x03\x04" + bytes(50), b"\x80\x02}q\x00.", b"\x80\x02]q\x00.", b"\x80\x04N."]
    others = [path.read_bytes() for path in scene.newest.iterdir() if path.suffix != file.suffix]
    file.write_bytes(scene.chance.choice([*junk, *others]))
    _sign(scene.newest)


def signed_without_a_file(scene: Scene) -> None:
    _file(scene, manifest=False).unlink()
    _sign(scene.newest)


def _sign(checkpoint: Path) -> None:
    path = checkpoint / "manifest.json"
    files = {file.name: file.read_bytes() for file in checkpoint.iterdir() if file != path}
    hashes = {name: {"size": len(data), "sha256": hashlib.sha256(data).hexdigest()} for name, data in files.items()}
    path.write_text(json.dumps(json.loads(path.read_text()) | {"files": hashes}))
