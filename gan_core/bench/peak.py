"""What the machine can do at most: a large matrix product and a large convolution."""

import time

import torch
import torch.nn.functional as F

from gan_core.bench.stopwatch import now

_SECONDS = 0.5
"""For how long each is repeated."""


def peak(device: torch.device, dtype: torch.dtype) -> dict[str, float]:
    """Returns floating-point operations per second of a "matrix product" and a "convolution", the best of several.

    A product of (n, m) and (m, k) has 2 n m k operations, and a convolution as many as its product of matrices.
    """
    large = device.type != "cpu"
    n = 8192 if large else 1024
    a, b = (torch.randn(n, n, device=device, dtype=dtype) for _ in range(2))
    batch, channels, size = (128, 256, 64) if large else (16, 64, 32)
    x = torch.randn(batch, channels, size, size, device=device, dtype=dtype)
    kernel = torch.randn(channels, channels, 3, 3, device=device, dtype=dtype)
    best = {"matrix product": torch.inf, "convolution": torch.inf}
    with torch.no_grad():
        started = time.perf_counter()
        while time.perf_counter() - started < 2 * _SECONDS:
            before = now(device)
            a @ b
            between = now(device)
            F.conv2d(x, kernel, padding=1)
            after = now(device)
            best["matrix product"] = min(best["matrix product"], between - before)
            best["convolution"] = min(best["convolution"], after - between)
    work = {"matrix product": 2 * n**3, "convolution": 2 * batch * channels**2 * 9 * size**2}
    return {name: work[name] / seconds for name, seconds in best.items()}
