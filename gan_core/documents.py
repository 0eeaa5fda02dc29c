"""Reading JSON and YAML documents that anything may have written: with limits, and one clear error."""

import json
import math
import os
import re
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

from gan_core.errors import UserError

_MOST_JSON, _MOST_YAML = 16_000_000, 100_000
"""Bytes of the largest documents that are read. PyYAML reads about 100 kB in a second."""
DEEPEST = 100
"""How many lists and mappings may contain each other."""

_TOO_DEEP = f"it is more than {DEEPEST} levels deep"


def read_json(path: Path) -> Any:
    """Returns the content of a JSON file.

    Raises:
        UserError: It is no regular file, cannot be read, or is too large, too deep, or not JSON with finite numbers and
            different keys.
    """
    return _explained(path, load_json)


def read_yaml(path: Path) -> Any:
    """Returns the content of a YAML file.

    Raises:
        UserError: As for `read_json`. Aliases are not allowed: a short file could expand to any size.
    """
    return _explained(path, lambda path: parse_yaml(read_regular(path, _MOST_YAML).decode()))


def load_json(path: Path) -> Any:
    """Returns the content of a JSON file, as `read_json`, with the errors themselves.

    Raises:
        OSError: It cannot be opened or read.
        ValueError: It is no regular file, or its content is not allowed.
    """
    return parse_json(read_regular(path, _MOST_JSON).decode())


def parse_json(text: str) -> Any:
    """Returns the content of a JSON document.

    Raises:
        ValueError: It is too deep, or not JSON with finite numbers and different keys.
    """
    try:
        return _shallow(json.loads(text, object_pairs_hook=_unique, parse_constant=_refuse, parse_float=_finite))
    except RecursionError:
        raise ValueError(_TOO_DEEP) from None


def parse_yaml(text: str) -> Any:
    """Returns the content of a YAML document.

    Raises:
        ValueError: It is too deep, has aliases, or is not YAML with different keys.
    """
    try:
        return _shallow(yaml.load(text, _Loader))  # noqa: S506  # It is a subclass of the safe one.
    except RecursionError:
        raise ValueError(_TOO_DEEP) from None
    except yaml.YAMLError as error:
        raise ValueError(" ".join(str(error).split())) from None


def _explained(path: Path, load: Callable[[Path], Any]) -> Any:
    try:
        return load(path)
    except (OSError, ValueError) as error:
        raise UserError(f"{str(path)!r} cannot be read: {error}") from None


def read_regular(path: Path, most: int, last: bool = False) -> bytes:
    """Returns the content of a regular file.

    Args:
        path: The file.
        most: How many bytes it may have.
        last: Whether to return only the last `most` bytes of a longer one.

    Raises:
        OSError: It cannot be opened or read.
        ValueError: It is no regular file, such as a pipe, which would block; or it is longer.
    """
    handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    with os.fdopen(handle, "rb") as file:
        found = os.fstat(handle)
        if not stat.S_ISREG(found.st_mode):
            raise ValueError("it is not a regular file")
        if found.st_size > most:
            if not last:
                raise ValueError(f"it has {found.st_size:,} bytes, more than {most:,}")
            file.seek(found.st_size - most)
        return file.read(min(most, found.st_size))


def _shallow(value: Any) -> Any:
    """Returns the value if it is not deeper than allowed."""
    level = [value]
    for _ in range(DEEPEST):
        level = [
            inner
            for outer in level
            if isinstance(outer, dict | list)
            for inner in (outer.values() if isinstance(outer, dict) else outer)
        ]
        if not level:
            return value
    raise ValueError(_TOO_DEEP)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise ValueError(f"the key {key!r} stands twice")
        found[key] = value
    return found


def _refuse(text: str) -> None:
    raise ValueError(f"{text} is not allowed")


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"{text} is too large")
    return value


class _Loader(yaml.SafeLoader):
    """PyYAML's safe loader without aliases and with different keys."""

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            raise yaml.YAMLError("aliases (*name) are not allowed")
        return super().compose_node(parent, index)

    def construct_yaml_int(self, node: yaml.ScalarNode) -> int:
        if re.fullmatch(r"[-+]?0[0-9_]+|.*:.*", str(node.value)):  # YAML 1.1 reads 010 as 8, and 1:30 as 90.
            raise yaml.YAMLError(f"{node.value} is not a decimal number")
        return super().construct_yaml_int(node)

    def construct_yaml_float(self, node: yaml.ScalarNode) -> float:
        if ":" in node.value:
            raise yaml.YAMLError(f"{node.value} is not a decimal number")
        return super().construct_yaml_float(node)

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        if twice := [key for at, key in enumerate(keys) if key in keys[:at]]:
            raise yaml.YAMLError(f"the key {twice[0]!r} stands twice")
        return super().construct_mapping(node, deep)


_Loader.add_constructor("tag:yaml.org,2002:int", _Loader.construct_yaml_int)
_Loader.add_constructor("tag:yaml.org,2002:float", _Loader.construct_yaml_float)
