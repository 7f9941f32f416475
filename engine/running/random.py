"""Random numbers fixed by (seed, stream, step) alone: Philox-4x64-10, by numpy on a CPU and by tensor operations elsewhere.

A counter-based generator has no state to save: the n-th number of a call is a hash of its address. So a result does
not depend on pausing, on neighbours in a stack or on the device, and numbers for many members (or steps) are drawn
in one call under `vmap`. Salmon, Moraes, Dror, Shaw, "Parallel random numbers: as easy as 1, 2, 3", 2011.

Words `count` of call k at step t under a seed are those of the blocks t B + 1, …, (t + 1) B, B = ⌈count / 8⌉, of the counter
(block, k, 0, 0) under the key (seed, CRC-32 of the stream's name), each block eight words of 32 bits, low halves first.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

M0, M1 = 0xD2E7470EE14C6C93, 0xCA5A826395121157
W0, W1 = 0x9E3779B97F4A7C15, 0xBB67AE8584CAA73B
MASK = 0xFFFFFFFF
CHUNK = 1 << 15  # normals made at a time: what they pass through stays in the nearest cache

Array = np.ndarray[Any, Any]


def signed(word: int) -> int:
    """A 64-bit word as int64 holds it."""
    word &= 0xFFFFFFFFFFFFFFFF
    return word - (1 << 64) if word >> 63 else word


def _mulhi(a: Tensor, m: int) -> Tensor:
    """High word of the unsigned product of 64-bit words, in int64 that wraps."""
    al, ah, ml, mh = a & MASK, (a >> 32) & MASK, m & MASK, m >> 32
    t = ah * ml + (((al * ml) >> 32) & MASK)
    u = al * mh + (t & MASK)
    return ah * mh + ((t >> 32) & MASK) + ((u >> 32) & MASK)


def philox(
    counter: tuple[Tensor, ...], key: tuple[Tensor, Tensor], rounds: int = 10
) -> tuple[Tensor, ...]:
    """Philox-4x64: four words of 64 bits (as int64) for each counter of four under a key of two."""
    c0, c1, c2, c3 = counter
    k0, k1 = key
    for r in range(rounds):
        if r:
            k0, k1 = k0 + signed(W0), k1 + signed(W1)
        high0, low0 = _mulhi(c0, M0), c0 * signed(M0)
        high1, low1 = _mulhi(c2, M1), c2 * signed(M1)
        c0, c1, c2, c3 = high1 ^ c1 ^ k0, low1, high0 ^ c3 ^ k1, low0
    return c0, c1, c2, c3


def words_of(seed: Tensor, step: Tensor, stream: int, call: int, count: int) -> Tensor:
    """(R, count) int32 for R seeds and steps, by tensor operations on their device."""
    blocks = -(-count // 8)
    block = step[:, None] * blocks + 1 + torch.arange(blocks, device=seed.device)
    zero = torch.zeros_like(block)
    key = (seed[:, None].expand_as(block), zero + stream)
    out = philox((block, zero + call, zero, zero), key)
    return torch.stack(out, -1).view(torch.int32).reshape(len(seed), -1)[:, :count]


class _Numpy:
    """The same words from numpy's own generator: numbers of consecutive steps come in one call."""

    def __init__(self) -> None:
        self.bits = np.random.Philox()
        self.state: Any = self.bits.state
        self.state["buffer_pos"], self.state["has_uint32"] = 4, 0  # nothing left over
        self.counter: Array = self.state["state"]["counter"]
        self.key: Array = self.state["state"]["key"]

    def raw(self, seed: int, stream: int, call: int, block: int, count: int) -> Array:
        self.counter[:] = (block, call, 0, 0)  # it counts up before it hashes
        self.key[:] = (seed & 0xFFFFFFFFFFFFFFFF, stream)
        self.bits.state = self.state
        raw: Array = self.bits.random_raw(4 * count)
        return raw.view(np.int32)

    def fill(self, out: Array, seed: Array, step: Array, stream: int, call: int) -> None:
        """Words of R seeds and steps into the rows of `out` (R, count)."""
        blocks = -(-out.shape[1] // 8)
        order = np.lexsort((step, seed))
        seeds, steps, apart = seed[order], step[order], np.diff(order)
        breaks = (np.diff(seeds) != 0) | (np.diff(steps) != 1)
        breaks[1:] |= apart[1:] != apart[:-1]
        begins = [0, *(np.flatnonzero(breaks) + 1).tolist()]
        for begin, end in zip(begins, [*begins[1:], len(order)], strict=True):
            if end == begin:
                continue
            got = self.raw(
                int(seeds[begin]), stream, call, int(steps[begin]) * blocks, blocks * (end - begin)
            )
            out[order[begin:end]] = got.reshape(end - begin, -1)[:, : out.shape[1]]


_numpy = _Numpy()


def box_muller(words: Tensor, out: Tensor) -> None:
    """Normals (R, count) into `out` from (R, 2 ⌈count / 2⌉) words: √(−2 log u) (cos θ, sin θ).

    u = (|word| + 1/2) / 2^31 is in (0, 1] and fine near 0, where a logarithm looks closest; θ = π word / 2^31.
    """
    half = words.shape[1] // 2
    radius, angle = words[:, :half].to(out.dtype), words[:, half:].to(out.dtype)
    radius.abs_().add_(0.5).mul_(2.0**-31).log_().mul_(-2.0).sqrt_()
    angle.mul_(math.pi * 2.0**-31)
    torch.mul(radius, torch.cos(angle), out=out[:, :half])
    rest = out.shape[1] - half
    torch.mul(radius[:, :rest], angle.sin_()[:, :rest], out=out[:, half:])


def draw_words(seed: Tensor, step: Tensor, stream: int, call: int, count: int) -> Tensor:
    """(*batch, count) int32, uniform over all of them, for int64 seeds and steps of that batch."""
    seed, step = torch.broadcast_tensors(seed, step)  # type: ignore[no-untyped-call]
    shape, seeds, steps = seed.shape, seed.reshape(-1), step.reshape(-1)
    if seed.device.type != "cpu":
        return words_of(seeds, steps, stream, call, count).reshape(*shape, count)
    out = torch.empty(len(seeds), count, dtype=torch.int32)
    if count:
        _numpy.fill(out.numpy(), seeds.numpy(), steps.numpy(), stream, call)
    return out.reshape(*shape, count)


def draw_normals(
    seed: Tensor, step: Tensor, stream: int, call: int, count: int, dtype: torch.dtype
) -> Tensor:
    """(*batch, count) standard normals, by Box and Muller from `draw_words`' words."""
    even = 2 * -(-count // 2)
    words = draw_words(seed, step, stream, call, even)
    shape = words.shape[:-1]
    words = words.reshape(-1, even)
    out = torch.empty(len(words), count, dtype=dtype, device=seed.device)
    together = max(1, CHUNK // max(1, even))
    for at in range(0, len(words) if count else 0, together):
        box_muller(words[at : at + together], out[at : at + together])
    return out.reshape(*shape, count)


def _op(name: str, fn: Callable[..., Tensor]) -> Any:
    """`fn(seed, step, …)` as an operation that `vmap` maps over seeds and steps, and a recording keeps whole.

    Not `custom_op`, which guards `fn` against torch's compiler, and loads that first.
    """
    called = f"lemmascope::{name}"
    torch.library.define(called, torch.library.infer_schema(fn, mutates_args=()))
    torch.library.impl(called, "default", fn)
    op = getattr(torch.ops.lemmascope, name).default

    def batched(info: Any, in_dims: Any, seed: Tensor, step: Tensor, *rest: Any) -> Any:
        moved = [
            v.unsqueeze(0) if d is None else v.movedim(d, 0)
            for v, d in zip((seed, step), in_dims, strict=False)
        ]
        most = max(v.ndim for v in moved)
        aligned = [v.reshape(v.shape[0], *(1,) * (most - v.ndim), *v.shape[1:]) for v in moved]
        return op(*aligned, *rest), 0

    torch.library.register_vmap(called, batched)
    return op


words_op = _op("words", draw_words)
normals_op = _op("normals", draw_normals)
DIRECT: dict[Any, Callable[..., Tensor]] = {  # for recordings: the same without the ceremony
    torch.ops.lemmascope.words.default: draw_words,
    torch.ops.lemmascope.normals.default: draw_normals,
}


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
        self._seed = torch.as_tensor(seed, dtype=torch.int64, device=self.device)
        self._step = torch.as_tensor(step, dtype=torch.int64, device=self.device)
        self._stream = zlib.crc32(stream.encode())
        self._calls = 0

    def _call(self) -> int:
        self._calls += 1
        return self._calls - 1

    def words(self, count: int) -> Tensor:
        """`count` words of 32 bits, as int32."""
        out: Tensor = words_op(self._seed, self._step, self._stream, self._call(), count)
        return out

    def uniform(self, *shape: int, low: float = 0.0, high: float = 1.0) -> Tensor:
        """Uniform on (low, high): (word + 1/2) / 2^32; in float32 the top may round to `high`."""
        words = self.words(math.prod(shape)).to(torch.int64) & MASK
        u = ((words.to(self.dtype) + 0.5) * 2.0**-32).reshape(shape)
        return u if (low, high) == (0.0, 1.0) else low + (high - low) * u

    def normal(self, *shape: int) -> Tensor:
        """Standard normal."""
        count = math.prod(shape)
        out: Tensor = normals_op(
            self._seed, self._step, self._stream, self._call(), count, self.dtype
        )
        return out.reshape(shape)

    def signs(self, *shape: int) -> Tensor:
        """-1 or +1, equally likely."""
        return (2 * (self.words(math.prod(shape)) >> 31) + 1).to(self.dtype).reshape(shape)

    def bernoulli(self, p: float | Tensor, *shape: int) -> Tensor:
        """1 with probability p, else 0."""
        return (self.uniform(*shape) < p).to(self.dtype)

    def integers(self, high: int, *shape: int) -> Tensor:
        """Uniform on {0, …, high - 1} as int64; the bias is below high / 2^32."""
        words = self.words(math.prod(shape)).to(torch.int64) & MASK
        return ((words * high) >> 32).reshape(shape)

    def permutation(self, count: int) -> Tensor:
        """A uniform permutation of range(count), as int64 (ties of 32-bit keys keep their order)."""
        return torch.argsort(self.words(count), stable=True)

    def orthogonal(self, rows: int, columns: int) -> Tensor:
        """Haar-distributed orthonormal columns (rows >= columns) or rows."""
        tall = self.normal(max(rows, columns), min(rows, columns))
        q, r = torch.linalg.qr(tall)
        haar = torch.mul(q, torch.sign(torch.diagonal(r)))
        return haar if rows >= columns else haar.mT
