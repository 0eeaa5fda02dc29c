"""The devices of this machine and the versions of the libraries that compute on them: for run.json and `gan_core env`.

The last digits of results depend on them.
"""

import platform
import re
from pathlib import Path

import torch

Facts = dict[str, str]


def describe_device(device: torch.device) -> Facts:
    """Returns the type and name of a device, and the versions of its libraries and driver as far as they are known."""
    if device.type != "cuda":
        return {"type": device.type, "name": cpu_name() if device.type == "cpu" else device.type.upper()}
    return {
        "type": device.type,
        "name": torch.cuda.get_device_name(device),
        **libraries(),
        **({"driver": driver} if (driver := nvidia_driver()) else {}),
    }


def libraries() -> Facts:
    """Returns the versions of CUDA and cuDNN, or of ROCm and MIOpen, with which torch was built."""
    if torch.version.hip:
        return {"ROCm": torch.version.hip, "MIOpen": str(torch.backends.cudnn.version())}
    return {"CUDA": torch.version.cuda or "no", "cuDNN": str(torch.backends.cudnn.version() or "no")}


def accelerators() -> Facts:
    """Returns the accelerators that this process sees, e.g. {"cuda:0": "NVIDIA H200, 139.8 GiB"}."""
    accelerator = torch.accelerator.current_accelerator(check_available=True)
    if accelerator is None:
        return {}
    properties = getattr(torch.get_device_module(accelerator), "get_device_properties", None)
    found = {}
    for index in range(torch.accelerator.device_count()):
        device = properties(index) if properties else None  # MPS has none.
        described = f"{device.name}, {device.total_memory / 2**30:.1f} GiB" if device else "no properties known"
        found[f"{accelerator.type}:{index}"] = described
    return found


def cpu_name() -> str:
    """Returns the CPU's model, such as "AMD EPYC 7B13"; where it is not known, the architecture."""
    found = re.search(r"^model name\s*:\s*(.+)$", _read("/proc/cpuinfo"), flags=re.MULTILINE)
    return found[1].strip() if found else platform.processor() or platform.machine()


def nvidia_driver() -> str | None:
    """Returns the version of NVIDIA's driver on Linux, such as "570.86.15"; None where there is none."""
    found = re.search(r"^NVRM version:.*?\s(\d+(?:\.\d+)+)\s", _read("/proc/driver/nvidia/version"), flags=re.MULTILINE)
    return found[1] if found else None


def _read(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
