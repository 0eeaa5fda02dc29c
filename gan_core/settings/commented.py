"""All settings and the variant's options as a YAML file with a comment above each: `train --print-config`."""

from collections.abc import Mapping
from textwrap import fill, indent
from typing import Any

import yaml
from pydantic import BaseModel

from gan_core.plugins.options import OptionRow, option_rows
from gan_core.settings.flag import GROUPS, flag_of
from gan_core.settings.settings import Settings

_WIDTH = 100


def commented_config(values: Mapping[str, Any], options: type[BaseModel]) -> str:
    """Returns a file for `train --config` that gives the same settings.

    Args:
        values: Every setting as a plain value, and those of the variant's options under "options".
        options: The class of the variant's options.
    """
    rows = {row["name"]: row for row in option_rows(Settings)}
    parts = []
    for group in GROUPS:
        fields = [name for name in rows if flag_of(Settings, name).group == group]
        if fields:
            parts.append(f"# ---- {group} ----\n")
            parts += [_entry(rows[name], values[name]) for name in fields]
    parts.append(f"# ---- options of {values['variant']} ----\n")
    entries = [_entry(row, values["options"][row["name"]]) for row in option_rows(options)]
    body = "\n".join(entries).rstrip("\n")
    parts.append("options:\n" + indent(body, "  ") + "\n" if entries else "options: {}\n")
    return "\n".join(parts)


def _entry(row: OptionRow, value: object) -> str:
    """Returns one setting below its help, type and bounds."""
    allowed = ", ".join(filter(None, (row["type"], row["bounds"])))
    comment = fill(f"{row['help']} [{allowed}]", _WIDTH, initial_indent="# ", subsequent_indent="# ")
    return f"{comment}\n{yaml.safe_dump({row['name']: value}, sort_keys=False, allow_unicode=True)}"
