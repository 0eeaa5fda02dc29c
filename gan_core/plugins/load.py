"""Loading a plugin by name, with an error message for each way in which it can fail."""

import re
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, TypeVar

from gan_core.errors import UserError, did_you_mean
from gan_core.game.data_spec import DataSpec
from gan_core.game.variant import API, Options, Variant
from gan_core.plugins.find import VARIANTS, Kind, Plugin, find_plugins

if TYPE_CHECKING:
    from gan_core.game.game import Game


class _Exported(Protocol):
    """An object that a plugin of any kind exports: it has an interface version, and perhaps a class of options."""

    @property
    def api(self) -> int: ...


T = TypeVar("T", bound=_Exported)


@dataclass(frozen=True, kw_only=True, slots=True)
class LoadedVariant:
    """A variant that has been imported and validated, with the plugin that provides it."""

    plugin: Plugin
    variant: Variant

    @property
    def doc(self) -> str:
        """The docstring of the plugin's module."""
        return sys.modules[self.plugin.entry_point.module].__doc__ or ""

    def build(self, options: Options | None, data: DataSpec) -> "Game":
        """Builds the game on the CPU.

        Args:
            options: The variant's options; its defaults if None.
            data: The data set.

        Raises:
            UserError: The data set lacks a field that the variant needs, or `build` raises ValueError.
        """
        self.check_fields(data)
        try:
            game = self.variant.build(options or self.variant.options(), data)
            check_outputs(game, data)
        except (MemoryError, OverflowError, RuntimeError) as error:
            if isinstance(error, RuntimeError) and not re.search("alloc|overflow|out of memory", str(error)):
                raise
            raise UserError(f"{self.plugin.label}: its networks are too large for this machine ({error})") from error
        except (ValueError, SystemExit) as error:
            what = f"it called sys.exit({error.code!r})" if isinstance(error, SystemExit) else str(error)
            raise UserError(f"{self.plugin.label}: {what}") from error
        return game

    def check_fields(self, data: DataSpec) -> None:
        """Compares the fields that the variant needs with those of a data set.

        Raises:
            UserError: One is missing, or fields that must belong together are in different tables.
        """
        needs = self.variant.tables()
        if all(any(set(names) <= set(table.fields) for table in data.tables.values()) for names in needs):
            return
        if ("images", "labels") in needs and "images" in data.fields:
            raise UserError(
                f"{self.plugin.label} needs labels, but {data.name!r} has none. "
                "Use a data set with labels; an image folder needs one subfolder per class"
            )
        wanted = ", ".join(" with ".join(names) for names in needs)
        apart = {name for names in needs for name in names} <= set(data.fields)
        raise UserError(
            f"{self.plugin.label} needs the fields {wanted}, but {data.name!r} has {data.described()}"
            f"{', in different tables, whose rows do not belong together' if apart else ''}. "
            "`gan_core list --datasets` shows data sets of other fields"
        )


def check_outputs(game: "Game", data: DataSpec) -> None:
    """Compares the fields that a game's outputs name with those of the data set.

    Raises:
        ValueError: One does not exist, or an output is like a field that holds no images.
    """
    for name, output in game.outputs.items():
        data.image(output.like)
        for field in output.given:
            if field not in data.fields:
                raise ValueError(f"output {name!r} is given {field!r}, but {data.name!r} has {data.described()}")


def load_variant(name: str) -> LoadedVariant:
    """Imports the variant named `name`, or `distribution:name` if several distributions provide the name.

    Raises:
        UserError: No distribution or more than one provides that name, its requirements are not met, it fails to
            import, or its entry point does not refer to a `Variant` for this version of the interface. The message
            names the distribution and the fix.
    """
    plugin, variant = load_plugin(name, VARIANTS, Variant, API)
    return LoadedVariant(plugin=plugin, variant=variant)


def load_plugin(name: str, kind: Kind, expected: type[T], api: int) -> tuple[Plugin, T]:
    """Imports a plugin and validates the object that its entry point refers to.

    Args:
        name: Name of the plugin, or `distribution:name`.
        kind: Kind of the plugin.
        expected: Type that the object must have.
        api: Interface version that the object must have.

    Raises:
        UserError: As for `load_variant`.
    """
    plugin = _choose(name, kind)
    if plugin.unmet:
        raise UserError(
            f"{plugin.label} {'; '.join(plugin.unmet)}.\n"
            f"Upgrade it and install its requirements: pip install -U {plugin.distribution}"
        )
    return plugin, _check(plugin, _import(plugin), expected, api)


def _choose(name: str, kind: Kind) -> Plugin:
    plugins = find_plugins(kind)
    matches = [plugin for plugin in plugins if name in (plugin.name, plugin.full_name)]
    if len(matches) == 1:
        return matches[0]
    if matches:
        rows = "\n".join(f"  {m.full_name}  ({m.distribution} {m.version}, {m.entry_point.value})" for m in matches)
        raise UserError(
            f"{len(matches)} distributions provide a {kind.noun} named {name!r}:\n{rows}\n"
            f"Use a full name, such as {kind.flag} {matches[0].full_name}, or uninstall one of them."
        )
    names = sorted({plugin.name for plugin in plugins})
    if not names:
        raise UserError(
            f"no {kind.noun} named {name!r} is installed: no distribution has entry points in the group "
            f"{kind.group!r}. In a checkout, run: pip install -r requirements.txt"
        )
    raise UserError(
        f"no {kind.noun} named {name!r} is installed.{did_you_mean(name, names)}\nInstalled: {', '.join(names)}"
    )


def _import(plugin: Plugin) -> object:
    try:
        return plugin.entry_point.load()
    except (Exception, SystemExit) as error:  # A plugin may raise anything; the others must stay usable.
        raise UserError(
            f"{plugin.label} failed to import {plugin.entry_point.value!r}: {type(error).__name__}: {error}\n"
            f"Report this to its authors, or remove it: pip uninstall {plugin.distribution}"
        ) from error


def _check(plugin: Plugin, found: object, expected: type[T], api: int) -> T:
    if not isinstance(found, expected):
        raise UserError(
            f"{plugin.label}: {plugin.entry_point.value!r} is {_type_of(found)}, not a gan_core.{expected.__name__}.\n"
            f"Point the entry point at the instance: {plugin.name} = "
            f'"{plugin.entry_point.module}:{expected.__name__.lower()}"'
        )
    if found.api != api:
        raise UserError(
            f"{plugin.label} was written for plugin API {found.api}; this gan_core supports {api}.\n"
            f"Upgrade one of the two: pip install -U {plugin.distribution} gan-core\n"
            "If it is your own: plugins/README.md in gan_core's repository says what has changed"
        )
    options = getattr(found, "options", Options)
    if not (isinstance(options, type) and issubclass(options, Options)):
        raise UserError(f"{plugin.label}: its `options` is {_type_of(options)}, not a subclass of gan_core.Options")
    return found


def _type_of(thing: object) -> str:
    """Returns "a class" or the name of the type, with its article."""
    kind = "class" if isinstance(thing, type) else type(thing).__name__
    return f"{'an' if kind[0].lower() in 'aeiou' else 'a'} {kind}"
