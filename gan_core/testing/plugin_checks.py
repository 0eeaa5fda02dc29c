"""What holds for plugins of every kind."""

import sys

from gan_core.plugins.find import Plugin
from gan_core.testing.processes import run_python


def check_bound(plugin: Plugin) -> None:
    """Raises AssertionError unless the distribution declares which versions of gan-core it supports."""
    assert plugin.bound, f"add a requirement such as gan-core>=0.1,<0.2 to the pyproject.toml of {plugin.distribution}"


def check_quiet_import(plugin: Plugin) -> None:
    """Raises AssertionError if importing the plugin draws random numbers or initialises CUDA."""
    run_python("-m", "gan_core.testing.quiet_import", plugin.entry_point.module, *sys.path)
