"""Loading the one plugin that was named, and saying what is wrong with it, if anything is."""

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
    """What every kind of plugin exports: an object that says for which interface it was written, and its options."""

    @property
    def api(self) -> int: ...

    @property
    def options(self) -> type[Options]: ...


T = TypeVar("T", bound=_Exported)


@dataclass(frozen=True, kw_only=True, slots=True)
class LoadedVariant:
    """A variant that is imported and checked, with where it came from."""

    plugin: Plugin
    variant: Variant

    @property
    def doc(self) -> str:
        """The docstring of the plugin's module."""
        return sys.modules[self.plugin.entry_point.module].__doc__ or ""

    def build(self, options: Options | None, data: DataSpec) -> "Game":
        """Makes the game on the CPU. Without options it has the variant's defaults.

        Raises:
            UserError: The variant refuses these options or this data.
        """
        if self.variant.needs_labels and not data.classes:
            raise UserError(
                f"{self.plugin.label} needs labels, but {data.name!r} has none. "
                "Use a data set with labels; in an image folder, each class is a folder of its own"
            )
        try:
            return self.variant.build(options or self.variant.options(), data)
        except ValueError as error:
            raise UserError(f"{self.plugin.label}: {error}") from error


def load_variant(name: str) -> LoadedVariant:
    """Imports the variant called `name`, or `distribution:name` where two distributions share a name.

    Raises:
        UserError: Nobody offers that name, two do, its requirements are not met, it fails to import, or what it names
            is not a `Variant` written for this interface. The message names the distribution and the way out.
    """
    plugin, variant = load_plugin(name, VARIANTS, Variant, API)
    return LoadedVariant(plugin=plugin, variant=variant)


def load_plugin(name: str, kind: Kind, like: type[T], api: int) -> tuple[Plugin, T]:
    """Imports the plugin of that kind and name; what it names must be a `like` of this `api`.

    Raises:
        UserError: As `load_variant` says.
    """
    plugin = _choose(name, kind)
    if plugin.unmet:
        raise UserError(
            f"{plugin.label} {'; '.join(plugin.unmet)}.\n"
            f"Upgrade or install what is missing: pip install -U {plugin.distribution}"
        )
    return plugin, _check(plugin, _import(plugin), like, api)


def _choose(name: str, kind: Kind) -> Plugin:
    plugins = find_plugins(kind)
    matches = [plugin for plugin in plugins if name in (plugin.name, plugin.full_name)]
    if len(matches) == 1:
        return matches[0]
    if matches:
        rows = "\n".join(f"  {m.full_name}  ({m.distribution} {m.version}, {m.entry_point.value})" for m in matches)
        raise UserError(
            f"{len(matches)} distributions provide a {kind.noun} named {name!r}:\n{rows}\n"
            f"Name one of them in full ({kind.flag} {matches[0].full_name}), or uninstall the other."
        )
    names = sorted({plugin.name for plugin in plugins})
    if not names:
        raise UserError(
            f"no {kind.noun} named {name!r} is installed, nor any other: gan_core finds them in the entry-point group "
            f"{kind.group!r}. From a checkout, run: pip install -r requirements.txt"
        )
    raise UserError(
        f"no {kind.noun} named {name!r} is installed.{did_you_mean(name, names)}\nInstalled: {', '.join(names)}"
    )


def _import(plugin: Plugin) -> object:
    try:
        return plugin.entry_point.load()
    except (Exception, SystemExit) as error:  # A plugin can fail in any way; it must not take the others with it.
        raise UserError(
            f"{plugin.label} failed to import {plugin.entry_point.value!r}: {type(error).__name__}: {error}\n"
            f"Ask its authors, or remove it: pip uninstall {plugin.distribution}"
        ) from error


def _check(plugin: Plugin, found: object, like: type[T], api: int) -> T:
    if not isinstance(found, like):
        raise UserError(
            f"{plugin.label}: {plugin.entry_point.value!r} is {_article(found)}, not a gan_core.{like.__name__}.\n"
            f"Point the entry point at the instance: {plugin.name} = "
            f'"{plugin.entry_point.module}:{like.__name__.lower()}"'
        )
    if found.api != api:
        raise UserError(
            f"{plugin.label} was written for plugin API {found.api}; this gan_core speaks {api}.\n"
            f"Upgrade one of the two: pip install -U {plugin.distribution} gan-core"
        )
    if not (isinstance(found.options, type) and issubclass(found.options, Options)):
        raise UserError(
            f"{plugin.label}: its `options` is {_article(found.options)}, not a subclass of gan_core.Options"
        )
    return found


def _article(thing: object) -> str:
    kind = "class" if isinstance(thing, type) else type(thing).__name__
    return f"{'an' if kind[0].lower() in 'aeiou' else 'a'} {kind}"
