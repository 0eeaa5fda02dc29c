"""Resuming a run: refused if settings, versions or data differ, unless the change is allowed by name."""

from collections.abc import Collection, Mapping
from typing import Any

from gan_core.errors import UserError
from gan_core.settings.settings import FREE, LENGTHS


def check_resume(
    before: Mapping[str, Any], now: Mapping[str, Any], *, allowed: Collection[str], schedule_uses_length: bool
) -> None:
    """Compares the settings and metadata of a run with those of this command.

    Args:
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
    width = max(map(len, changed))
    rows = "\n".join(f"  {key:<{width}}  {before.get(key)!r} in the run, {now.get(key)!r} now" for key in changed)
    note = (
        "\nThe learning rate schedule ends with the run, so another length changes it." if "length" in changed else ""
    )
    raise UserError(
        f"the run in this folder has different settings:\n{rows}{note}\n"
        f"Use the run's settings, pass another --out, or allow each change by name: --allow-change {changed[0]}"
    )


def comparable(flat: Mapping[str, Any]) -> list[str]:
    """Returns the keys that a resumed run may change only with `--allow-change`."""
    return [key for key in flat if key not in FREE and key not in LENGTHS]
