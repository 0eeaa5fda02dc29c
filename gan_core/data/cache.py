"""Where gan_core keeps what it can make or download again."""

import os
from pathlib import Path


def cache_folder() -> Path:
    """Returns `$XDG_CACHE_HOME/gan_core`, which is ~/.cache/gan_core unless set."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "gan_core"
