"""The error of float32 with and without TF32, against float64: of a convolution, a matrix product, and a penalty."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gan_core import squared_gradient_norm
from gan_core.precision import arithmetic, tf32_restored
from tests.gpu.lab import Lab, Result

_FLOAT32 = 5e-5
"""A relative error, in units of the largest result, that float32 stays below, and TF32 does not: its 10 bits of
mantissa round each factor by up to 5e-4, which leaves 3e-4 in the convolution's sums of 2,304 products."""


def tf32(lab: Lab) -> Result:
    """Without --tf32 the errors are those of float32; with it only those of a penalty's gradient are."""
    found: Result = {}
    for allowed in (False, True):
        with arithmetic(tf32=allowed, deterministic=False):
            for name, compute in (("convolution", _convolution), ("matrix product", _product), ("penalty", _penalty)):
                error = _error(compute, lab)
                found[f"{name}, TF32 {'allowed' if allowed else 'off'}"] = error
                if not allowed or name == "penalty" or not lab.on_gpu:
                    assert error < _FLOAT32, found
    has_tf32 = lab.on_gpu and not torch.version.hip and torch.cuda.get_device_capability() >= (8, 0)
    if has_tf32:
        assert found["convolution, TF32 allowed"] > _FLOAT32, found
    else:
        found["remark"] = "this device has no TF32"
    return found


def _error(compute: Callable[[torch.dtype, Lab], Tensor], lab: Lab) -> float:
    exact = compute(torch.float64, lab)
    return float((compute(torch.float32, lab).double() - exact).abs().max() / exact.abs().max())


def _randn(*shape: int, dtype: torch.dtype, lab: Lab) -> Tensor:
    """Returns the same numbers in both dtypes: float32's."""
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0)).to(lab.device, dtype)


def _convolution(dtype: torch.dtype, lab: Lab) -> Tensor:
    maps = 32 if lab.short else 256
    images, kernels = (_randn(count, maps, side, side, dtype=dtype, lab=lab) for count, side in ((8, 16), (maps, 3)))
    return F.conv2d(images, kernels, padding=1)


def _product(dtype: torch.dtype, lab: Lab) -> Tensor:
    side = 128 if lab.short else 2048
    return _randn(side, side, dtype=dtype, lab=lab) @ _randn(side, side, dtype=dtype, lab=lab)


def _penalty(dtype: torch.dtype, lab: Lab) -> Tensor:
    """Returns the gradient of R1 by the weights: a second derivative, computed after the penalty's own block."""
    maps = 16 if lab.short else 128
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(3, maps, 3), nn.Softplus(), nn.Conv2d(maps, maps, 3), nn.Softplus(), nn.Flatten())
    network.to(lab.device, dtype)
    with tf32_restored():  # As in the update of a phase.
        squared_gradient_norm(lambda x: network(x).sum(1), _randn(8, 3, 16, 16, dtype=dtype, lab=lab)).backward()
    return torch.cat([p.grad.flatten() for p in network.parameters() if p.grad is not None])
