"""Imports a module, and fails if that draws random numbers or initialises CUDA.

python -m gan_core.testing.quiet_import MODULE FOLDER ...

The module is looked for in the folders first. It must not have been imported before: this needs a process of its own.
"""

import importlib
import random
import sys

import numpy as np
import rich.style  # noqa: F401  # It draws a number when it is imported.
import torch


def _state() -> tuple[object, ...]:
    """Returns the state of every global random number generator on the CPU."""
    return random.getstate(), str(np.random.get_state()), torch.get_rng_state().tolist()


def main(module: str, *folders: str) -> None:
    """Imports the module."""
    sys.path[:0] = folders
    before = _state()
    importlib.import_module(module)
    if _state() != before:
        sys.exit("importing it draws random numbers")
    if torch.cuda.is_initialized():
        sys.exit("importing it initialises CUDA")


if __name__ == "__main__":
    main(*sys.argv[1:])
