"""The cache folder, for files that gan_core can compute or download again."""

import os
from pathlib import Path


def cache_folder() -> Path:
    """Returns `$XDG_CACHE_HOME/gan_core`, by default ~/.cache/gan_core."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "gan_core"
