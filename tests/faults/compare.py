"""Comparing a run's folder before and after a command: what must still be there."""

import re
import shutil
from pathlib import Path

from tests.faults.scene import KEPT, Content, content, remove

REWRITTEN = ("config.yaml", "run.json", ".lock")
"""What a run that goes on writes anew. The log is compared by its lines."""


def assert_nothing_is_lost(before: Content, run: Path, *, variant: str, refused: bool) -> None:
    """Checks that all that lay in a run's folder is there after a command, renamed at most to NUMBER.damaged.

    Where the command was refused, nothing at all has changed.
    """
    now = content(run) if run.exists() else {}
    if refused:
        before, now = ({key: it for key, it in state.items() if key != ".lock"} for state in (before, now))
        changed = sorted(key for key in before.keys() | now.keys() if before.get(key) != now.get(key))
        assert not changed, f"a refused command has changed {changed}"
        return
    intact = [key for key in now if re.fullmatch(r"checkpoints/\d+", key)]
    oldest_kept = sorted(intact)[-KEPT[variant] :][:1]
    for key, it in before.items():
        number = re.match(r"checkpoints/\d+", key)
        damaged = key.replace(number[0], f"{number[0]}.damaged", 1) if number else key
        temporary = re.search(r"(^|/)\.[^/]*\.new(/|$)", key)
        pruned = number is not None and oldest_kept and number[0] < oldest_kept[0]
        if key in (*REWRITTEN, "metrics.jsonl") or temporary or pruned:
            continue
        assert it in (now.get(key), now.get(damaged)), f"{key} is lost or has changed"


def put_back(run: Path, whole: Content, disturbed: Content, source: Path) -> None:
    """Mends a fault: what it has changed or removed comes back, and what it has added goes."""
    for key in sorted(disturbed.keys() - whole.keys(), reverse=True):
        remove(run / key)
    for key in sorted(key for key, it in whole.items() if disturbed.get(key) != it):
        remove(run / key)
        if whole[key][0] == "folder":
            (run / key).mkdir()
        else:
            shutil.copy2(source / key, run / key)
