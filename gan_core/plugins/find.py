"""Finding plugins from the metadata of installed distributions, without importing them.

Plugins are found, then loaded, then checked, as immutable records that include their origin, as in flake8's finder.
"""

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from email import message_from_string
from email.message import Message
from functools import cached_property
from importlib.metadata import Distribution, EntryPoint, PackageNotFoundError, distribution, distributions
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit
from urllib.request import url2pathname

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

from gan_core.version import __version__


@dataclass(frozen=True, kw_only=True, slots=True)
class Kind:
    """A kind of plugin that distributions can provide.

    Attributes:
        group: The entry-point group.
        noun: Its name in error messages.
        flag: The command-line flag that takes the plugin's name.
    """

    group: str
    noun: str
    flag: str


VARIANTS = Kind(group="gan_core.variants", noun="variant", flag="--variant")
DATASETS = Kind(group="gan_core.datasets", noun="data set", flag="--dataset")
FEATURES = Kind(group="gan_core.features", noun="feature space", flag="--features")


@dataclass(frozen=True, kw_only=True)
class Plugin:
    """A variant or feature space of an installed distribution, not yet imported.

    Attributes:
        kind: The kind of plugin.
        name: The name that the user types after the flag.
        distribution: The distribution that provides it.
        version: The distribution's version.
        summary: The distribution's one-line description.
        metadata: The distribution's metadata.
        entry_point: The location of the object: "module:attribute".
    """

    kind: Kind
    name: str
    distribution: str
    version: str
    summary: str
    metadata: Distribution
    entry_point: EntryPoint

    @property
    def source(self) -> str:
        """Where it comes from: "installed", "editable PATH" or the address it was installed from."""
        return _source(self.metadata)

    @property
    def bound(self) -> str | None:
        """The distribution's requirement on gan-core, such as "gan-core<0.2,>=0.1", or None."""
        return self._requirements[0]

    @property
    def unmet(self) -> tuple[str, ...]:
        """The distribution's requirements that are not met, each as a short sentence."""
        return self._requirements[1]

    @cached_property
    def _requirements(self) -> tuple[str | None, tuple[str, ...]]:
        return _requirements(self.metadata, self.distribution, self.version)

    @property
    def full_name(self) -> str:
        """The name with the distribution, which distinguishes plugins of the same name."""
        return f"{self.distribution}:{self.name}"

    @property
    def label(self) -> str:
        """The plugin's description in error messages."""
        return f"{self.kind.noun} {self.name!r} ({self.distribution} {self.version})"


def find_plugins(kind: Kind = VARIANTS) -> list[Plugin]:
    """Returns all installed plugins, sorted by name and distribution, so that all processes agree."""
    return sorted(_find(kind), key=lambda plugin: (plugin.name, plugin.distribution))


def status(plugin: Plugin, plugins: list[Plugin]) -> str:
    """Returns "ok", or why the plugin cannot be used."""
    if plugin.unmet:
        return "; ".join(plugin.unmet)
    if Counter(other.name for other in plugins)[plugin.name] > 1:
        return f"name taken twice: use {plugin.full_name}"
    return "ok" if plugin.bound else "ok, but declares no gan-core bound"


def _find(kind: Kind) -> Iterator[Plugin]:
    for name, provider in _providers(kind).items():
        # sys.path can contain a distribution twice; Python imports the first. There is none of that name if the folder
        # has another name than the metadata.
        copies = ((copy, _about(copy)) for copy in distributions(name=name))
        first, about = next((found for found in copies if found[1].name), provider)
        for entry_point in first.entry_points.select(group=kind.group):
            yield Plugin(
                kind=kind,
                name=entry_point.name,
                distribution=about.name,
                version=about.version,
                summary=about.summary,
                metadata=first,
                entry_point=entry_point,
            )


class _About(NamedTuple):
    """Fields of a distribution's metadata; "" if missing."""

    name: str
    version: str
    summary: str


def _providers(kind: Kind) -> dict[str, tuple[Distribution, _About]]:
    """Returns the distributions that provide plugins and their fields, by name; the metadata of the others is not read.

    `importlib.metadata.entry_points` does the same, but raises TypeError if pip has left an empty folder such as
    "-name-1.0.dist-info".
    """
    found: dict[str, tuple[Distribution, _About]] = {}
    for one in distributions():
        if one.entry_points.select(group=kind.group) and (about := _about(one)).name:
            found.setdefault(canonicalize_name(about.name), (one, about))
    return found


def _fields(found: Distribution) -> Message:
    """Returns the metadata without the description that follows it: `Distribution.metadata` parses that too, slowly."""
    text = found.read_text("METADATA") or found.read_text("PKG-INFO") or ""
    return message_from_string(text.partition("\n\n")[0])


def _about(found: Distribution) -> _About:
    fields = _fields(found)
    return _About(*(fields[key] if key in fields else "" for key in ("Name", "Version", "Summary")))  # noqa: SIM401


def _requirements(found: Distribution, name: str, version: str) -> tuple[str | None, tuple[str, ...]]:
    """Returns the bound on gan-core and the unmet requirements, from metadata alone (as OpenTelemetry does)."""
    unmet = []
    # The plugins in gan-core itself have its version.
    bound = f"gan-core=={version}" if canonicalize_name(name) == "gan-core" else None
    for text in _fields(found).get_all("Requires-Dist") or found.requires or ():
        try:
            requirement = Requirement(text)
        except InvalidRequirement:
            unmet.append(f"has an unreadable requirement: {text!r}")
            continue
        if requirement.marker and not requirement.marker.evaluate({"extra": ""}):
            continue
        wanted = f"{requirement.name}{requirement.specifier}"
        if canonicalize_name(requirement.name) == "gan-core":
            bound, installed = wanted, __version__
        else:
            try:
                installed = _about(distribution(requirement.name)).version
            except PackageNotFoundError:
                unmet.append(f"needs {wanted}, which is not installed")
                continue
        if not requirement.specifier.contains(installed, prereleases=True):
            unmet.append(f"needs {wanted}, but {installed} is installed")
    return bound, tuple(unmet)


def _source(found: Distribution) -> str:
    try:
        origin = json.loads(found.read_text("direct_url.json") or "{}")
        url = str(origin.get("url", ""))
        if origin.get("dir_info", {}).get("editable"):
            return f"editable {Path(url2pathname(urlsplit(url).path))}"
    except (ValueError, AttributeError):
        return "unknown"
    return url or "installed"
