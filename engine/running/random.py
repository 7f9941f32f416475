"""Random numbers fixed by (seed, stream, step) alone: Philox-4x32-7 in tensor operations.

A counter-based generator has no state to save: the n-th number of a call is a hash of its address. So a result does
not depend on pausing, on neighbours in a stack or on the device, and numbers for many members (or steps) are drawn
in one call under `vmap`. Salmon, Moraes, Dror, Shaw, "Parallel random numbers: as easy as 1, 2, 3", 2011.
"""

from __future__ import annotations

import math
import zlib

import torch
from torch import Tensor

M0, M1 = 0xD2511F53, 0xCD9E8D57
W0, W1 = 0x9E3779B9, 0xBB67AE85
MASK = 0xFFFFFFFF


def philox(
    counter: tuple[Tensor, ...], key: tuple[Tensor, Tensor], rounds: int = 7
) -> tuple[Tensor, ...]:
    """Four words in [0, 2^32) (int64) for each counter of four words under a key of two.

    A product of two words may wrap around int64's sign; its low word is right all the same, and its high word
    is once the arithmetic shift is masked.
    """
    c0, c1, c2, c3 = counter
    k0, k1 = key
    for r in range(rounds):
        if r:
            k0, k1 = (k0 + W0) & MASK, (k1 + W1) & MASK
        p0, p1 = c0 * M0, c2 * M1
        c0, c1, c2, c3 = (
            ((p1 >> 32) & MASK) ^ c1 ^ k0,
            p1 & MASK,
            ((p0 >> 32) & MASK) ^ c3 ^ k1,
            p0 & MASK,
        )
    return c0, c1, c2, c3


class Rng:
    """Draws for one member; every call is a new one at (seed, stream, step).

    seed and step may be 0-d tensors that `vmap` maps over. Floating draws have `dtype`, on `device`.
    """

    def __init__(
        self,
        seed: Tensor | int,
        stream: str,
        step: Tensor | int = 0,
        *,
        dtype: torch.dtype | None = None,
        device: torch.device | str | None = None,
    ) -> None:
        self.dtype = dtype or torch.get_default_dtype()
        self.device = torch.device(device or "cpu")
        seed = torch.as_tensor(seed, dtype=torch.int64, device=self.device)
        self._step = torch.as_tensor(step, dtype=torch.int64, device=self.device)
        self._key = (seed & MASK, ((seed >> 32) & MASK) ^ zlib.crc32(stream.encode()))
        self._calls = 0

    def words(self, count: int) -> Tensor:
        """`count` words, uniform on [0, 2^32), as int64."""
        blocks = -(-count // 4)
        i = torch.arange(blocks, dtype=torch.int64, device=self.device)
        call = torch.full_like(i, self._calls)
        self._calls += 1
        low, high = self._step & MASK, (self._step >> 32) & MASK
        out = philox((i, call, low.expand_as(i), high.expand_as(i)), self._key)
        return torch.cat(out)[:count]

    def uniform(self, *shape: int, low: float = 0.0, high: float = 1.0) -> Tensor:
        """Uniform on (low, high), strictly inside (0, 1) before scaling."""
        u = _unit(self.words(math.prod(shape)), self.dtype).reshape(shape)
        return u if (low, high) == (0.0, 1.0) else low + (high - low) * u

    def normal(self, *shape: int) -> Tensor:
        """Standard normal, by Box and Muller."""
        count = math.prod(shape)
        half = -(-count // 2)
        words = self.words(2 * half)
        radius = torch.sqrt(-2.0 * torch.log(_unit(words[:half], self.dtype)))
        angle = 2.0 * math.pi * _unit(words[half:], self.dtype)
        return torch.cat([radius * torch.cos(angle), radius * torch.sin(angle)])[:count].reshape(
            shape
        )

    def signs(self, *shape: int) -> Tensor:
        """-1 or +1, equally likely."""
        bits = self.words(math.prod(shape)) >> 31
        return (2 * bits - 1).to(self.dtype).reshape(shape)

    def bernoulli(self, p: float | Tensor, *shape: int) -> Tensor:
        """1 with probability p, else 0."""
        return (self.uniform(*shape) < p).to(self.dtype)

    def integers(self, high: int, *shape: int) -> Tensor:
        """Uniform on {0, …, high - 1} as int64; the bias is below high / 2^32."""
        return ((self.words(math.prod(shape)) * high) >> 32).reshape(shape)

    def permutation(self, count: int) -> Tensor:
        """A uniform permutation of range(count), as int64 (ties of 32-bit keys keep their order)."""
        return torch.argsort(self.words(count), stable=True)

    def orthogonal(self, rows: int, columns: int) -> Tensor:
        """Haar-distributed orthonormal columns (rows >= columns) or rows."""
        tall = self.normal(max(rows, columns), min(rows, columns))
        q, r = torch.linalg.qr(tall)
        haar = torch.mul(q, torch.sign(torch.diagonal(r)))
        return haar if rows >= columns else haar.mT


def _unit(words: Tensor, dtype: torch.dtype) -> Tensor:
    """(word + 1/2) / 2^32; in float32 the top may round to 1, where log and cos stay finite."""
    return (words.to(dtype) + 0.5) * 2.0**-32
