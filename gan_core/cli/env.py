"""`gan_core env`."""

import json
import os
import platform
import re
from importlib.metadata import PackageNotFoundError, version
from typing import Annotated, Any

import psutil
import typer

from gan_core.console import printable
from gan_core.cores import usable_cores
from gan_core.distributed.launcher import default_config
from gan_core.documents import read_yaml
from gan_core.errors import UserError
from gan_core.plugins.find import DATASETS, FEATURES, VARIANTS, Kind, find_plugins, status
from gan_core.version import __version__

Section = dict[str, Any]

_DISTRIBUTIONS = (
    *("torch", "torchvision", "accelerate", "numpy", "pydantic", "typer", "rich", "safetensors", "scikit-learn"),
    *("wandb", "tensorboard", "torch-fidelity"),
)
_VARIABLES = re.compile(
    r"RANK|WORLD_SIZE|LOCAL_RANK|LOCAL_WORLD_SIZE|MASTER_ADDR|MASTER_PORT|OMP_NUM_THREADS|CUDA_VISIBLE_DEVICES|"
    r"XDG_CACHE_HOME|WANDB_MODE|(ACCELERATE|NCCL|GLOO)_.+"
)
_SECRET = re.compile(r"key|token|secret|password|credential", re.IGNORECASE)


def env(*, as_json: Annotated[bool, typer.Option("--json", help="Print JSON for programs.")] = False) -> None:
    """Print the details for a bug report: versions, devices, launcher variables and installed plugins.

    No plugin is imported, and no variable or key with "key", "token", "secret", "password" or "credential" in its name
    is shown.
    """
    report: dict[str, Section] = {
        "versions": _versions(),
        "machine": _machine(),
        "torch": _torch(),
        "variables": {name: os.environ[name] for name in sorted(os.environ) if _shown(name)},
        "accelerate_config": _accelerate_config(),
        "variants": _plugins(VARIANTS),
        "data_sets": _plugins(DATASETS),
        "feature_spaces": _plugins(FEATURES),
    }
    if as_json:
        print(json.dumps(report, indent=2, default=str))
        return
    for name, section in report.items():
        title = name.replace("_", " ")
        print(title if section else f"{title}: none")
        width = max(map(len, section), default=0)
        for key, value in section.items():
            print(printable(f"  {key:<{width}}  {value}"))


def _versions() -> Section:
    return {
        "gan_core": __version__,
        "python": platform.python_version(),
        "platform": platform.platform(),
        **{name: _version(name) for name in _DISTRIBUTIONS},
    }


def _version(distribution: str) -> str:
    try:
        return version(distribution)
    except PackageNotFoundError:
        return "not installed"


def _machine() -> Section:
    memory = psutil.virtual_memory()
    return {
        "CPU cores": os.cpu_count(),
        "cores for this process": usable_cores(),
        "memory": f"{_gib(memory.total)}, {_gib(memory.available)} of it available",
    }


def _torch() -> Section:
    """Returns how torch was built and its devices, or why it cannot be imported."""
    try:
        import torch
    except (ImportError, OSError) as error:  # OSError: a shared library is missing or of another version.
        return {"cannot be imported": f"{type(error).__name__}: {error}"}

    from gan_core.distributed.hardware import accelerators, libraries, nvidia_driver

    return {
        **{f"built with {library}": version for library, version in libraries().items()},
        "NVIDIA driver": nvidia_driver() or "none",
        "threads": torch.get_num_threads(),
        **(accelerators() or {"accelerator": "none"}),
    }


def _accelerate_config() -> Section:
    """Returns the settings that `accelerate launch` uses when it is given no file."""
    file = default_config()
    try:
        settings = read_yaml(file) if file.exists() else {}
    except (OSError, UserError) as error:
        # An error of YAML quotes the line where it is.
        return {"error": f"{str(file)!r} cannot be read" if _SECRET.search(str(error)) else str(error)}
    if not isinstance(settings, dict):
        return {"error": f"{str(file)!r} holds no `key: value` lines"}
    return {str(key): value for key, value in settings.items() if not _SECRET.search(f"{key} {value}")}


def _plugins(kind: Kind) -> Section:
    try:
        plugins = find_plugins(kind)
    except Exception as error:  # Broken metadata can raise anything; the rest of the report is still useful.
        return {"cannot be read": f"{type(error).__name__}: {error}"}
    return {plugin.full_name: f"{plugin.version}, {plugin.source}: {status(plugin, plugins)}" for plugin in plugins}


def _shown(variable: str) -> bool:
    return bool(_VARIABLES.fullmatch(variable)) and not _SECRET.search(variable)


def _gib(size: int) -> str:
    return f"{size / 2**30:.1f} GiB"
