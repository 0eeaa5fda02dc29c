"""Copies from the CPU to the device that wait for nothing."""

from collections.abc import Mapping

import torch
from torch import Tensor


def to_device(tensor: Tensor, device: torch.device, dtype: torch.dtype | None = None) -> Tensor:
    """Returns the tensor on `device`, converted to `dtype`.

    A copy from ordinary memory to a GPU begins when the GPU has finished all earlier work, and the CPU waits for it. A
    copy from pinned memory is queued like other work (CUDA Runtime API, "API synchronization behavior").
    """
    if dtype is not None and tensor.device.type == "cpu":
        tensor = tensor.to(dtype)  # Before it is pinned: torch would convert it to ordinary memory, and copy that.
    if device.type == "cuda" and tensor.device.type == "cpu":
        tensor = tensor.pin_memory()
    return tensor.to(device, dtype, non_blocking=True)


def place(inputs: Mapping[str, Tensor], device: torch.device, dtype: torch.dtype) -> dict[str, Tensor]:
    """Returns the inputs on `device`, floating-point tensors converted to `dtype`."""
    return {
        name: to_device(tensor, device, dtype if tensor.is_floating_point() else tensor.dtype)
        for name, tensor in inputs.items()
    }
