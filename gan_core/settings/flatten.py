"""Settings on one level, by dotted key, so that two runs can be compared and trackers can show them."""

from collections.abc import Mapping
from typing import Any


def flatten(settings: Mapping[str, Any], metadata: Mapping[str, Any]) -> dict[str, Any]:
    """Returns what must agree, by dotted key: settings, the variant's options, and metadata (versions, data)."""
    compared = ("length", "variant_distribution", "variant_version", "data")
    return dotted(settings) | {key: metadata.get(key) for key in compared}


def dotted(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Returns settings on one level: each of the variant's options as "options.NAME"."""
    flat = {key: value for key, value in settings.items() if key != "options"}
    return flat | {f"options.{key}": value for key, value in settings.get("options", {}).items()}
