"""One line about a plugin, read from its source without importing it."""

import ast
from importlib.machinery import PathFinder
from importlib.util import find_spec
from itertools import pairwise

from gan_core.plugins.find import Plugin


def described(plugin: Plugin) -> str:
    """Returns what the docstring below the plugin's object says first, or else its distribution's description."""
    return _docstring(plugin.entry_point.module, plugin.entry_point.attr) or plugin.summary


def _docstring(module: str, attribute: str) -> str:
    """Returns the first paragraph of the string below `attribute = ...`, or "" if there is none to be read."""
    for statement, below in pairwise(_statements(module)):
        match statement, below:
            case ast.Assign(targets=[ast.Name(id=name)]), ast.Expr(value=ast.Constant(value=str(text))):
                if name == attribute:
                    return " ".join(text.partition("\n\n")[0].split())
    return ""


def _statements(module: str) -> list[ast.stmt]:
    """Returns the statements of a module; nothing of it is imported, nor are the packages above it."""
    top, *below = module.split(".")
    try:
        spec = find_spec(top)
        for depth in range(1, len(below) + 1):
            places = None if spec is None else spec.submodule_search_locations
            spec = PathFinder.find_spec(".".join([top, *below[:depth]]), places)
        source = spec.loader.get_source(module)  # type: ignore[union-attr]  # AttributeError is caught.
        return ast.parse(source or "").body
    except (ImportError, AttributeError, OSError, SyntaxError, TypeError, ValueError):
        return []
