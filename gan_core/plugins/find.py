"""Finding plugins from the metadata of what is installed. Nothing is imported here.

Find, then load, then check, on immutable records that say where each plugin comes from: the order of flake8's finder.
"""

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import Distribution, EntryPoint, PackageNotFoundError, distributions, version
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit
from urllib.request import url2pathname

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

from gan_core.version import __version__


@dataclass(frozen=True, kw_only=True, slots=True)
class Kind:
    """Something that distributions can offer.

    Attributes:
        group: The entry-point group.
        noun: What error messages call one.
        flag: The flag of the command line that takes its name.
    """

    group: str
    noun: str
    flag: str


VARIANTS = Kind(group="gan_core.variants", noun="variant", flag="--variant")
FEATURES = Kind(group="gan_core.features", noun="feature space", flag="--features")


@dataclass(frozen=True, kw_only=True, slots=True)
class Plugin:
    """A variant or a feature space that some installed distribution offers, not imported yet.

    Attributes:
        kind: Which of the two.
        name: What the user types after the flag.
        distribution: The distribution that offers it.
        version: That distribution's version.
        summary: That distribution's one-line description.
        source: "installed", "editable PATH" or the address it was installed from.
        bound: The distribution's requirement on gan-core, such as "gan-core<0.2,>=0.1", or None.
        unmet: Why the distribution's requirements do not hold here, each a short sentence.
        entry_point: Where the object is: "module:attribute".
    """

    kind: Kind
    name: str
    distribution: str
    version: str
    summary: str
    source: str
    bound: str | None
    unmet: tuple[str, ...]
    entry_point: EntryPoint

    @property
    def full_name(self) -> str:
        """What tells it from another distribution's of the same name."""
        return f"{self.distribution}:{self.name}"

    @property
    def label(self) -> str:
        """How error messages name it."""
        return f"{self.kind.noun} {self.name!r} ({self.distribution} {self.version})"


def find_plugins(kind: Kind = VARIANTS) -> list[Plugin]:
    """Returns every one installed, sorted by name and distribution, so that all processes agree."""
    return sorted(_find(kind), key=lambda plugin: (plugin.name, plugin.distribution))


def status(plugin: Plugin, plugins: list[Plugin]) -> str:
    """Returns "ok", or why the plugin cannot be used as it stands."""
    if plugin.unmet:
        return "; ".join(plugin.unmet)
    if Counter(other.name for other in plugins)[plugin.name] > 1:
        return f"name taken twice: use {plugin.full_name}"
    return "ok" if plugin.bound else "ok, but declares no gan-core bound"


def _find(kind: Kind) -> Iterator[Plugin]:
    for name, offering in _offering(kind).items():
        # A distribution can be met twice on sys.path; the first one is the one that Python would import. None has the
        # name where a folder is not called as its metadata say.
        first = next((copy for copy in distributions(name=name) if _about(copy).name), offering)
        about = _about(first)
        bound, unmet = _requirements(first, about)
        for entry_point in first.entry_points.select(group=kind.group):
            yield Plugin(
                kind=kind,
                name=entry_point.name,
                distribution=about.name,
                version=about.version,
                summary=about.summary,
                source=_source(first),
                bound=bound,
                unmet=unmet,
                entry_point=entry_point,
            )


def _offering(kind: Kind) -> dict[str, Distribution]:
    """Returns the distributions that offer something, by name; the metadata of the others is not read.

    `importlib.metadata.entry_points` does the same, but raises TypeError where pip has left an empty folder such as
    "-name-1.0.dist-info".
    """
    found: dict[str, Distribution] = {}
    for one in distributions():
        if one.entry_points.select(group=kind.group) and (name := _about(one).name):
            found.setdefault(canonicalize_name(name), one)
    return found


class _About(NamedTuple):
    """Fields of a distribution's metadata, "" where they are missing."""

    name: str
    version: str
    summary: str


def _about(found: Distribution) -> _About:
    fields = found.metadata  # Python parses the file at each access,
    # and warns of a missing field since 3.12.
    return _About(*(fields[key] if key in fields else "" for key in ("Name", "Version", "Summary")))  # noqa: SIM401


def _requirements(found: Distribution, about: _About) -> tuple[str | None, tuple[str, ...]]:
    """Returns the bound on gan-core and what is not met, from metadata alone (as OpenTelemetry checks its own)."""
    unmet = []
    # What comes with gan-core itself is of its version.
    bound = f"gan-core=={about.version}" if canonicalize_name(about.name) == "gan-core" else None
    for text in found.requires or ():
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
                installed = version(requirement.name)
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
