"""Compares the requested number of processes with the number that the launcher started.

`accelerate launch --cpu --num_processes 2` silently starts one process (so does a config file with
`distributed_type: MULTI_CPU`). A run that silently uses half of the machines gives a wrong result, so it is stopped.
This module does not import torch.
"""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import psutil

from gan_core.documents import read_yaml
from gan_core.errors import UserError


def started_processes(environment: Mapping[str, str] = os.environ) -> int:
    """Returns the number of processes that the launcher reports: 1 without a launcher."""
    return int(environment.get("WORLD_SIZE", "1"))


def was_launched(environment: Mapping[str, str] = os.environ) -> bool:
    """Returns whether accelerate or torchrun started this process."""
    return "TORCHELASTIC_RUN_ID" in environment or "ACCELERATE_MIXED_PRECISION" in environment


def check_launcher() -> None:
    """Compares the number of started processes with the command line of the parent process.

    Raises:
        UserError: `accelerate launch` started fewer processes than requested.
    """
    try:
        command = psutil.Process(os.getppid()).cmdline()
    except psutil.Error:
        return
    requested, started = requested_processes(command), started_processes()
    if requested > started:
        raise UserError(
            f"{requested} processes were requested, but accelerate launch started {started}: it ignores "
            "--num_processes together with --cpu (or distributed_type: MULTI_CPU).\n"
            f"On CPUs use: ACCELERATE_USE_CPU=1 accelerate launch --multi_gpu --num_processes {requested} "
            "-m gan_core train ...,\n"
            "or a file from launch/: accelerate launch --config_file launch/cpu-2.yaml -m gan_core train ..."
        )


def requested_processes(command: Sequence[str]) -> int:
    """Returns `--num_processes` from the command line or config file of `accelerate launch`, 1 if not given."""
    words = list(command)
    if "launch" not in words or not any(Path(word).name.startswith("accelerate") for word in words):
        return 1
    # Arguments after `-m gan_core` are not the launcher's.
    end = words.index("-m", words.index("launch")) if "-m" in words[words.index("launch") :] else len(words)
    flags = words[:end]
    requested = _value(flags, "--num_processes") or _value(flags, "--num-processes") or _from_config(flags)
    return int(requested) if requested and requested.isdigit() else 1


def _from_config(flags: Sequence[str]) -> str | None:
    file = _value(flags, "--config_file") or _value(flags, "--config-file") or default_config()
    try:
        config = read_yaml(Path(file))
    except UserError:
        return None
    return str(config.get("num_processes", 1)) if isinstance(config, dict) else None


def default_config() -> Path:
    """Returns the file that `accelerate config` writes."""
    home = os.environ.get("HF_HOME") or Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "huggingface"
    return Path(home) / "accelerate" / "default_config.yaml"


def _value(words: Sequence[str], flag: str) -> str | None:
    for at, word in enumerate(words):
        if word == flag and at + 1 < len(words):
            return words[at + 1]
        if word.startswith(f"{flag}="):
            return word.partition("=")[2]
    return None
