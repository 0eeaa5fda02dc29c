"""One line about a plugin, read from its source without importing it."""

import ast
from importlib.machinery import PathFinder
from importlib.util import find_spec
from itertools import pairwise

from gan_core.plugins.find import VARIANTS, Plugin


def described(plugin: Plugin) -> str:
    """Returns what the docstring of the plugin's object says first, or else its distribution's description.

    The docstring is a string below `name = ...`, or for a variant that of the module, as in `gan_core show`.
    """
    module = _module(plugin.entry_point.module)
    text = _below(module, plugin.entry_point.attr) or (ast.get_docstring(module) if plugin.kind is VARIANTS else "")
    return " ".join((text or "").partition("\n\n")[0].split()) or plugin.summary


def _below(module: ast.Module, attribute: str) -> str:
    """Returns the string below `attribute = ...`, or "" if there is none."""
    for statement, below in pairwise(module.body):
        match statement, below:
            case ast.Assign(targets=[ast.Name(id=name)]), ast.Expr(value=ast.Constant(value=str(text))):
                if name == attribute:
                    return text
    return ""


def _module(module: str) -> ast.Module:
    """Returns the source of a module, or an empty one; nothing of it is imported, nor are the packages above it."""
    top, *below = module.split(".")
    try:
        spec = find_spec(top)
        for depth in range(1, len(below) + 1):
            places = None if spec is None else spec.submodule_search_locations
            spec = PathFinder.find_spec(".".join([top, *below[:depth]]), places)
        source = spec.loader.get_source(module)  # type: ignore[union-attr]  # AttributeError is caught.
        return ast.parse(source or "")
    except (ImportError, AttributeError, OSError, SyntaxError, TypeError, ValueError):
        return ast.Module(body=[], type_ignores=[])
