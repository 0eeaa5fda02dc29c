"""float32 without TF32, deterministic algorithms and fast convolutions: global flags, set for a while and restored.

GPUs since NVIDIA's Ampere can compute float32 convolutions and matrix products in TF32, with 10 bits of mantissa in
place of 23. torch by default allows it in convolutions and not in matrix products. Here it is allowed nowhere unless
`--tf32` asks for it, and then in networks but not in penalties and feature spaces. On CPUs the flags change nothing.
"""

import os
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext

import torch

from gan_core.errors import UserError

WORKSPACE = "CUBLAS_WORKSPACE_CONFIG"
"""The environment variable that makes cuBLAS deterministic; torch demands one of two values."""
WORKSPACES = (":4096:8", ":16:8")
"""Its deterministic values: https://docs.nvidia.com/cuda/cublas/#results-reproducibility."""


_fast_convolutions = True


def fast_convolutions() -> bool:
    """Returns whether layers may use gan_core.blocks.small_map_convolution; they may unless `arithmetic` forbids it."""
    return _fast_convolutions


@contextmanager
def arithmetic(*, tf32: bool, deterministic: bool, fast_convolutions: bool = True) -> Iterator[None]:
    """Computes with the settings of a run.

    Args:
        tf32: Whether float32 convolutions and matrix products on GPUs may use TF32.
        deterministic: Whether only algorithms are used that give the same bits every time. cuBLAS reads its part of it
            from the environment when it is first used, so this must be entered before.
        fast_convolutions: What the function `fast_convolutions` returns within.

    Raises:
        UserError: With `deterministic`: torch has no deterministic algorithm for something that was computed.
    """
    global _fast_convolutions
    before, _fast_convolutions = _fast_convolutions, fast_convolutions
    try:
        with tf32_restored(), _deterministic() if deterministic else nullcontext():
            _allow_tf32(tf32)
            yield
    finally:
        _fast_convolutions = before


_scopes: list[tuple[bool, bool] | None] = []
"""What to restore at the end of each `tf32_restored` that is entered; None where nothing was changed in it."""


@contextmanager
def tf32_restored() -> Iterator[None]:
    """Restores at its end whether TF32 is allowed: the scope of `precise` within it."""
    _scopes.append(None)
    try:
        yield
    finally:
        before = _scopes.pop()
        if before is not None:
            _set_tf32(*before)


@contextmanager
def without_tf32() -> Iterator[None]:
    """Forbids TF32 within the block."""
    with tf32_restored():
        _allow_tf32(False)
        yield


@contextmanager
def precise(device: torch.device) -> Iterator[None]:
    """Computes in the dtype of the tensors, without autocast and without TF32: for penalties.

    The backward of what is computed within comes later. Therefore TF32 stays forbidden after the block, until the
    update of the phase ends.

    Args:
        device: The device of the tensors.
    """
    _allow_tf32(False)
    with torch.autocast(device.type, enabled=False):
        yield


def is_precise(device: torch.device) -> bool:
    """Returns whether `precise` would change nothing now: no autocast, and on a GPU no TF32."""
    return not torch.is_autocast_enabled(device.type) and (device.type == "cpu" or _tf32() == (False, False))


@contextmanager
def _deterministic() -> Iterator[None]:
    cudnn = torch.backends.cudnn
    enabled = torch.are_deterministic_algorithms_enabled()
    warn_only = torch.is_deterministic_algorithms_warn_only_enabled()
    flags, variable = (cudnn.deterministic, cudnn.benchmark), os.environ.get(WORKSPACE)
    os.environ.setdefault(WORKSPACE, WORKSPACES[0])
    torch.use_deterministic_algorithms(True)
    cudnn.deterministic, cudnn.benchmark = True, False
    try:
        yield
    except RuntimeError as error:
        if found := re.search(r"(\S+) does not have a deterministic implementation", str(error)):
            raise UserError(
                f"deterministic: torch's {found[1]} has no deterministic implementation on this device. Use other "
                "layers, or train without --deterministic"
            ) from error
        raise
    finally:
        torch.use_deterministic_algorithms(enabled, warn_only=warn_only)
        cudnn.deterministic, cudnn.benchmark = flags
        if variable is None:
            del os.environ[WORKSPACE]


def _allow_tf32(allowed: bool) -> None:
    before = _tf32()
    if _scopes and _scopes[-1] is None:
        _scopes[-1] = before
    if before != (allowed, allowed):
        _set_tf32(allowed, allowed)


def _tf32() -> tuple[bool, bool]:
    """Returns whether TF32 is allowed in cuDNN's convolutions and in cuBLAS's matrix products."""
    with _silent():
        return torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32


def _set_tf32(convolutions: bool, products: bool) -> None:
    with _silent():
        torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32 = convolutions, products


@contextmanager
def _silent() -> Iterator[None]:
    """Hides a warning of torch 2.9.0, which recommends flags that torch 2.8 lacks and that do not mix with these."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Please use the new API settings to control TF32")
        yield
