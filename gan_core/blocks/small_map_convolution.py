"""Convolutions of small maps on CPUs: torch's layers, equal to 1e-5, by faster algorithms where shapes suit them.

1. A kernel as large as the map, without padding: the convolution is a dense layer, one matrix product.
2. One channel on the image's side, more than kernel² on the other, or few multiplications: torch's kernels that unfold
   the image (im2col), whose gradients are wrong for others than contiguous ones. oneDNN vectorises over channels.
3. Frequencies, with less than `BOUND` of torch's multiplications: y = R [(T w) (I x)], where constant matrices I, T
   and R are real Fourier transforms, with one product of channels for each frequency, or three for a complex one
   (Karatsuba & Ofman 1962). A stride makes channels of the pixels' phases; a transposed convolution is the adjoint.
"""

from collections.abc import Callable
from functools import lru_cache
from math import prod

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gan_core.precision import fast_convolutions

Sides = tuple[int, int]
SMALL = 8  # The largest side of a map, or of one phase of it, with frequencies: transforms cost its fourth power.
BOUND = 4 / 7  # Layers below it take 0.3 to 1.1 of torch's time, those above 1.2 to 2: oneDNN is closer to the peak.
FEW = 2**20  # Multiplications of a batch; with fewer, unfolding takes 0.3 to 0.8 of oneDNN's time.
PIECE = 2**25  # Bytes of a tensor of frequencies: glibc maps larger ones anew each time (M_MMAP_THRESHOLD), slowly.
unfold: Callable[..., Tensor] = torch._C._nn.thnn_conv2d  # type: ignore[attr-defined]
fold: Callable[..., Tensor] = torch._C._nn.slow_conv_transpose2d  # type: ignore[attr-defined]


class Conv2d(nn.Conv2d):
    """`nn.Conv2d`. `pads` (left, right, top, bottom), as in `F.pad`, adds zeros if the padding is 0."""

    pads: tuple[int, int, int, int] = (0, 0, 0, 0)

    def forward(self, x: Tensor) -> Tensor:
        """Returns (B, out_channels, H', W') for x of (B, in_channels, H, W)."""
        w = self.weight  # Once: parametrizations such as spectral normalisation compute it each time, and change.
        if not _suitable(x, w, self):
            return self._by_torch(x, w)
        (k, _), (s, _), p, (height, width) = self.kernel_size, self.stride, int(self.padding[0]), x.shape[2:]
        left, right, top, bottom = (p + pad for pad in self.pads)
        out = ((height + top + bottom - k) // s + 1, (width + left + right - k) // s + 1)
        front, back = -top % s, (top - k) % s  # With so many zeros the phases of kernels and maps coincide.
        small = ((-(-height // s), -(-width // s)), (front + k + back) // s, (top + front) // s, out)
        if (height, width) == (k, k) and not top + bottom + left + right:
            y = (x.flatten(1) @ w.flatten(1).T)[:, :, None, None]
        elif (w.shape[1] == 1 and len(w) > k * k) or len(x) * prod(out) * w.numel() < FEW:
            x, pad = (x, left) if len({left, right, top, bottom}) == 1 else (F.pad(x, self.pads), p)
            return unfold(x.contiguous(), w.contiguous(), (k, k), self.bias, (s, s), (pad, pad))
        elif left == top and _faster(prod(out) * w.numel(), len(x), w.shape[1] * s * s, len(w), *small):
            x = F.pixel_unshuffle(F.pad(x, (0, -width % s, 0, -height % s)), s)
            w = F.pixel_unshuffle(F.pad(w, (front, back, front, back)), s)
            y = _by_frequency(x, w.transpose(0, 1), *small[2:])
        else:
            return self._by_torch(x, w)
        return y if self.bias is None else y + self.bias[:, None, None]

    def _by_torch(self, x: Tensor, w: Tensor) -> Tensor:
        if len({*self.pads}) > 1 or not any(self.pads):  # Otherwise without a padded copy.
            return self._conv_forward(F.pad(x, self.pads) if any(self.pads) else x, w, self.bias)  # type: ignore[no-any-return]
        return F.conv2d(x, w, self.bias, self.stride, self.pads[0], self.dilation, self.groups)


class ConvTranspose2d(nn.ConvTranspose2d):
    """`nn.ConvTranspose2d` without the last `crop` rows and columns of its result."""

    crop = 0

    def forward(self, x: Tensor, output_size: list[int] | None = None) -> Tensor:
        """Returns (B, out_channels, H', W') for x of (B, in_channels, H, W)."""
        w, cut = self.weight, (..., *[slice(-self.crop or None)] * 2)
        if output_size is not None or not _suitable(x, w, self):
            return self._by_torch(x, w, output_size)[cut]
        (k, _), (s, _), p = self.kernel_size, self.stride, int(self.padding[0])
        inside, more = (x.shape[2], x.shape[3]), k - 2 * p + self.output_padding[0] - self.crop
        out = ((inside[0] - 1) * s + more, (inside[1] - 1) * s + more)
        front, taps = -p % s, (-p % s + k + (p - k) % s) // s
        small = (inside, taps, taps - 1 - (p + front) // s, (-(-out[0] // s), -(-out[1] // s)))
        if (*inside, *out, p) == (1, 1, k, k, 0):
            y: Tensor = (x.flatten(1) @ w.flatten(1)).unflatten(1, w.shape[1:])
        elif (w.shape[1] == 1 and len(w) > k * k) or len(x) * prod(inside) * w.numel() < FEW:
            return fold(x.contiguous(), w.contiguous(), (k, k), self.bias, (s, s), (p, p), self.output_padding)[cut]
        elif _faster(prod(inside) * w.numel(), len(x), len(w), w.shape[1] * s * s, *small):
            w = F.pixel_unshuffle(F.pad(w, (front, (p - k) % s) * 2), s)
            y = F.pixel_shuffle(_by_frequency(x, w.flip(2, 3), *small[2:]), s)[..., : out[0], : out[1]]
        else:
            return self._by_torch(x, w)[cut]
        return y if self.bias is None else y + self.bias[:, None, None]

    def _by_torch(self, x: Tensor, w: Tensor, size: list[int] | None = None) -> Tensor:
        s, p, k, d = ([*map(int, each)] for each in (self.stride, self.padding, self.kernel_size, self.dilation))
        return F.conv_transpose2d(x, w, self.bias, s, p, self._output_padding(x, size, s, p, k, 2, d), self.groups, d)


def _suitable(x: Tensor, w: Tensor, layer: nn.Conv2d | nn.ConvTranspose2d) -> bool:
    kind = x.device.type == "cpu" and x.dtype == w.dtype and x.dtype in (torch.float32, torch.float64)
    plain = (layer.groups, layer.dilation, layer.padding_mode) == (1, (1, 1), "zeros")
    square = all(len({*size}) == 1 for size in (layer.kernel_size, layer.stride, layer.padding, layer.output_padding))
    fits = x.dim() == 4 and x.shape[1] == layer.in_channels and min(x.shape) > 0
    eager = fast_convolutions() and not (torch.is_autocast_enabled("cpu") or torch.compiler.is_compiling())
    return kind and plain and square and fits and eager


def _periods(inside: Sides, k: int, before: int, out: Sides) -> Sides:
    """The shortest with which a periodic convolution equals one that is padded with zeros."""
    return max(inside[0] + before, out[0] + k - 1 - before), max(inside[1] + before, out[1] + k - 1 - before)


def _faster(theirs: int, batch: int, c: int, o: int, inside: Sides, k: int, before: int, out: Sides) -> bool:
    """Compares multiplications per image: torch's, and those with frequencies for c -> o channels without a stride."""
    fits, periods = min(*out, before + 1) > 0 and max(*inside, *out) <= SMALL, _periods(inside, k, before, out)
    # Three for each pair of conjugate frequencies, and one for each that is its own conjugate.
    products = (3 * prod(periods) - prod(2 - n % 2 for n in periods)) // 2
    return fits and products * (c * o * (1 + k * k / batch) + c * prod(inside) + o * prod(out)) < BOUND * theirs


def _by_frequency(x: Tensor, w: Tensor, before: int, out: Sides) -> Tensor:
    """Returns y[b, o, i, j] = sum over c, u, v of x[b, c, i + u - before, j + v - before] · w[c, o, u, v]."""
    (batch, c, height, width), (_, o, k, _) = x.shape, w.shape
    constant = [torch.tensor(m, dtype=x.dtype) for m in _transforms((height, width), k, before, out)]
    maps, kernels = x.reshape(batch * c, -1).T, w.reshape(c * o, -1).T
    largest = len(constant[0]) * max(batch * c, c * o, batch * o) * x.element_size()
    y = x.new_zeros(())
    for I, T, R in zip(*(m.split(max(1, len(m) * PIECE // largest)) for m in constant), strict=True):  # noqa: E741
        products = (I @ maps).view(-1, batch, c) @ (T @ kernels).view(-1, c, o)
        y = torch.addmm(y, products.view(len(I), -1).T, R)
    return y.view(batch, o, *out)


@lru_cache
def _transforms(inside: Sides, k: int, before: int, out: Sides) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns I (P, H · W), T (P, k · k) and R (P, H' · W') for `_by_frequency`, P products."""
    periods = _periods(inside, k, before, out)

    def waves(frequency: Sides, sides: Sides, first: int = 0) -> np.ndarray:
        turns = (f * (np.arange(m) + first) / n for f, m, n in zip(frequency, sides, periods, strict=True))
        return np.exp(2j * np.pi * np.add.outer(*turns)).ravel()

    rows = list[tuple[np.ndarray, np.ndarray, np.ndarray]]()
    for frequency in np.ndindex(periods):
        conjugate = tuple(-f % n for f, n in zip(frequency, periods, strict=True))
        # x̂ = a + b i and, as this is a correlation, the conjugate of the kernel's, c + d i.
        x, w, y = waves(frequency, inside).conj(), waves(frequency, (k, k), -before), waves(frequency, out)
        a, b, c, d, re, im = x.real, x.imag, w.real, w.imag, y.real / prod(periods), y.imag / prod(periods)
        if frequency == conjugate:
            rows.append((a, c, re))
        elif frequency < conjugate:  # Re(x̂ ŵ) = (a + b) c - b (c + d) and Im(x̂ ŵ) = (a + b) c + a (d - c).
            rows += [(a + b, c, 2 * (re - im)), (a, d - c, -2 * im), (b, c + d, -2 * re)]
    return np.stack([row[0] for row in rows]), np.stack([row[1] for row in rows]), np.stack([row[2] for row in rows])
