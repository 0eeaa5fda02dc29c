"""Going on with a run: only with the same game, and with every difference named."""

from collections.abc import Collection, Mapping
from typing import Any

from gan_core.errors import UserError
from gan_core.settings.settings import FREE, LENGTHS


def check_resume(
    before: Mapping[str, Any], now: Mapping[str, Any], *, allowed: Collection[str], schedule_uses_length: bool
) -> None:
    """Compares the settings and metadata of a run with those that are asked for now.

    Args:
        before: What the run was started with, by dotted key.
        now: The same of this command.
        allowed: Keys that may differ, from `--allow-change`.
        schedule_uses_length: Whether the learning rate depends on the run's length.

    Raises:
        UserError: Something differs that the rest of the run depends on.
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
        "\nThe learning rate's schedule ends with the run, so another length changes it." if "length" in changed else ""
    )
    raise UserError(
        f"the run in this folder was made with other settings:\n{rows}{note}\n"
        f"Use the run's own, or give another --out, or allow each by name: --allow-change {changed[0]}"
    )


def comparable(flat: Mapping[str, Any]) -> list[str]:
    """Returns the keys that a resumed run may change only by name."""
    return [key for key in flat if key not in FREE and key not in LENGTHS]
