"""Resuming a run: refused if settings, versions or data differ, unless the change is allowed by name.

A run whose checkpoints are gone or damaged is not started again from the beginning unless that is asked for.
"""

from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

from gan_core.console import say, warn
from gan_core.errors import UserError
from gan_core.runs.atomic import unused
from gan_core.runs.checkpoint import Checkpoint, newest
from gan_core.runs.folder import RunFolder
from gan_core.settings.settings import FREE, LENGTHS


def checkpoint_to_resume(folder: RunFolder) -> Checkpoint | None:
    """Returns the newest intact checkpoint of the run in a folder; None if it has written none.

    Raises:
        UserError: The run has written checkpoints, but none of them can be used now.
    """
    skipped: list[str] = []
    found = newest(folder.checkpoints, skipped.append)
    for text in skipped:
        warn(text)
    saved = images_saved(folder)
    if found is not None or not (skipped or saved):
        return found
    what = "all checkpoints are damaged" if skipped else f"it has no checkpoints any more in {folder.checkpoints}"
    raise UserError(
        f"out: the run in {str(folder.root)!r} was saved at {saved / 1000:g} kimg, but {what}. Nothing was changed. "
        "If they are on another disk, make it available; else use another --out, or start anew with --resume restart, "
        "which keeps the old folder under another name"
    )


def images_saved(folder: RunFolder) -> int:
    """Returns the images seen at the last checkpoint that the run in a folder has written; 0 without one."""
    metadata = folder.read_metadata()
    seen = metadata.get("images_saved", metadata.get("images_seen", 0))  # Runs of gan_core 0.1.0 have only the other.
    return seen if isinstance(seen, int) else 0


def check_files(folder: RunFolder, found: Checkpoint | None, allowed: Collection[str]) -> None:
    """Checks that the files beside a checkpoint are there, and those of the same run.

    Args:
        folder: The run's folder.
        found: The checkpoint; None if the run has written none.
        allowed: With "metrics" in it, metrics.jsonl may have changed.

    Raises:
        UserError: run.json is missing, or metrics.jsonl is not the one that the run has logged.
    """
    if not folder.metadata.exists() and (found is not None or folder.metrics.exists()):
        raise UserError(
            f"out: {str(folder.metadata)!r} is missing, which says which data and versions the run has. Put it back; "
            "else use another --out, or start anew with --resume restart, which keeps the old folder under another name"
        )
    changed = None if found is None or "metrics" in allowed else folder.metrics_changed(found.logged)
    if found is not None and changed is not None:
        raise UserError(
            f"out: {str(folder.metrics)!r} is not the log that the run had at {found.images_seen / 1000:g} kimg "
            f"({changed}), or {found.path} is a checkpoint of another run. Nothing was changed. Put the right one "
            "back, or resume with what can be read of the log: --allow-change metrics, which keeps the file under "
            "another name"
        )


def move_away(folder: RunFolder) -> None:
    """Renames a run's folder, for a restart, to NAME-before-restart or NAME-before-restart-2 and so on.

    Raises:
        UserError: It cannot be renamed.
    """
    if not folder.exists:
        return
    to = unused(folder.root.with_name(f"{folder.root.name}-before-restart"))
    try:
        folder.root.rename(to)
    except OSError as error:
        raise UserError(f"resume: 'restart', but {str(folder.root)!r} cannot be renamed: {error}") from None
    say(f"the run before is now in {to}")


def check_resume(
    folder: Path,
    before: Mapping[str, Any],
    now: Mapping[str, Any],
    *,
    allowed: Collection[str],
    schedule_uses_length: bool,
) -> None:
    """Compares the settings and metadata of a run with those of this command.

    Args:
        folder: The run's folder.
        before: Settings and metadata of the run, by dotted key.
        now: Settings and metadata of this command.
        allowed: Keys that may differ, from `--allow-change`.
        schedule_uses_length: Whether the learning rate depends on the run's length.

    Raises:
        UserError: A value differs that affects the rest of the run.
    """
    keys = comparable({**before, **now})
    if not schedule_uses_length:
        keys.remove("length")
    changed = [key for key in keys if before.get(key) != now.get(key) and key not in allowed]
    if not changed:
        return
    parts = [part for key in changed for part in _differences(key, before.get(key), now.get(key))]
    width = max(len(key) for key, _, _ in parts)
    rows = "\n".join(f"  {key:<{width}}  {one!r} in the run, {other!r} now" for key, one, other in parts)
    note = (
        "\nThe learning rate schedule ends with the run, so another length changes it." if "length" in changed else ""
    )
    raise UserError(
        f"out: the run in {str(folder)!r} has different settings:\n{rows}{note}\n"
        f"Use the run's settings, pass another --out, or allow each change by name: --allow-change {changed[0]}"
    )


def _differences(key: str, before: object, now: object) -> Iterator[tuple[str, object, object]]:
    """Yields the parts of a value that differ, such as one property of the data, by dotted key."""
    if isinstance(before, Mapping) and isinstance(now, Mapping):
        for name in (name for name in {**before, **now} if before.get(name) != now.get(name)):
            yield from _differences(f"{key}.{name}", before.get(name), now.get(name))
    else:
        yield key, before, now


def note_other_device(before: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    """Prints what has changed of a run's device and the versions that compute on it. They change the last digits.

    Args:
        before: The run metadata of the run that is resumed.
        now: The run metadata of this command.
    """
    if "device" not in before:
        return  # A run of an earlier version.
    old, new = ({"torch": metadata.get("torch"), **metadata["device"]} for metadata in (before, now))
    changed = [f"{key} {old.get(key)}, now {new.get(key)}" for key in old | new if old.get(key) != new.get(key)]
    if changed:
        say(
            f"note: the run is not continued bit for bit, because its device or versions have changed: "
            f"{'; '.join(changed)}"
        )


def comparable(flat: Mapping[str, Any]) -> list[str]:
    """Returns the keys that a resumed run may change only with `--allow-change`."""
    return [key for key in flat if key not in FREE and key not in LENGTHS]
