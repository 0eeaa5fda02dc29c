"""What the launcher was asked for, compared with what it started.

`accelerate launch --cpu --num_processes 2` starts one process and says nothing (so does a config file with
`distributed_type: MULTI_CPU`). A run that silently uses half of the machines is a wrong result, so it is stopped.
Nothing here imports torch.
"""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import psutil
import yaml

from gan_core.errors import UserError


def started_processes(environment: Mapping[str, str] = os.environ) -> int:
    """Returns how many processes the launcher says that it started: 1 without a launcher."""
    return int(environment.get("WORLD_SIZE", "1"))


def check_launcher() -> None:
    """Compares what was started with the command line of the parent process.

    Raises:
        UserError: `accelerate launch` was asked for more processes than it started.
    """
    try:
        command = psutil.Process(os.getppid()).cmdline()
    except psutil.Error:
        return
    asked, started = asked_processes(command), started_processes()
    if asked > started:
        raise UserError(
            f"accelerate launch was asked for {asked} processes and started {started}: it ignores --num_processes "
            "together with --cpu (or distributed_type: MULTI_CPU).\n"
            f"On CPUs use: accelerate launch --multi_gpu --num_processes {asked} -m gan_core train ... "
            "(gan_core keeps to the CPU where there is no GPU),\n"
            "or a file from launch/: accelerate launch --config_file launch/cpu-2.yaml -m gan_core train ..."
        )


def asked_processes(command: Sequence[str]) -> int:
    """Returns the `--num_processes` in the command line of `accelerate launch`, or 1 where it names none."""
    words = list(command)
    if "launch" not in words or not any(Path(word).name.startswith("accelerate") for word in words):
        return 1
    # What follows `-m gan_core` is ours, not the launcher's.
    ours = words.index("-m", words.index("launch")) if "-m" in words[words.index("launch") :] else len(words)
    flags = words[:ours]
    asked = _value(flags, "--num_processes") or _value(flags, "--num-processes") or _from_config(flags)
    return int(asked) if asked and asked.isdigit() else 1


def _from_config(flags: Sequence[str]) -> str | None:
    file = _value(flags, "--config_file") or _value(flags, "--config-file") or default_config()
    try:
        config = yaml.safe_load(Path(file).read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError):
        return None
    return str(config.get("num_processes", 1)) if isinstance(config, dict) else None


def default_config() -> Path:
    """Returns where `accelerate config` writes."""
    home = os.environ.get("HF_HOME") or Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "huggingface"
    return Path(home) / "accelerate" / "default_config.yaml"


def _value(words: Sequence[str], flag: str) -> str | None:
    for at, word in enumerate(words):
        if word == flag and at + 1 < len(words):
            return words[at + 1]
        if word.startswith(f"{flag}="):
            return word.partition("=")[2]
    return None
