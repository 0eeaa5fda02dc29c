"""What holds for plugins of every kind."""

import sys

from gan_core.plugins.find import Plugin
from gan_core.testing.processes import run_python


def check_bound(plugin: Plugin) -> None:
    """Raises AssertionError unless the distribution declares which versions of gan-core it supports."""
    assert plugin.bound, f"add a requirement such as gan-core>=0.1,<0.2 to the pyproject.toml of {plugin.distribution}"


def check_quiet_import(plugin: Plugin) -> None:
    """Raises AssertionError if importing the plugin draws random numbers or initialises CUDA."""
    code = (
        "import random, numpy, torch, rich.style\n"  # rich draws a number when gan_core imports it.
        "state = lambda: (random.getstate(), str(numpy.random.get_state()), torch.get_rng_state().tolist())\n"
        f"before = state(); import {plugin.entry_point.module}\n"
        "assert state() == before, 'importing it draws random numbers'\n"
        "assert not torch.cuda.is_initialized(), 'importing it initialises CUDA'\n"
    )
    run_python("-c", f"import sys; sys.path[:0] = {sys.path!r}\n{code}")
