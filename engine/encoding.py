"""The one binary form of messages: a JSON header and the arrays' raw bytes.

Pipes, journals and savers all carry it, so nothing is ever unpickled. Arrays are little-endian; only the dtypes of
`DTYPES` pass.
"""

from __future__ import annotations

import dataclasses
import json
import struct
from typing import Any

import numpy as np

from engine.messages import KINDS, PARTS, Array, Message, Rows

DTYPES = ("<f4", "<f8", "<i4", "<i8", "|u1", "|b1")
ALIGNED = 8  # bytes at a multiple of which the first array begins: where a processor wants numbers


class Malformed(ValueError):
    """Bytes that are no message."""


def parts(message: Message) -> list[bytes | memoryview]:
    """What `encode` joins: header length (u32), JSON header, then each array's bytes in order, not copied."""
    arrays: list[Array] = []
    header = _plain(message, arrays)
    text = json.dumps(header, separators=(",", ":")).encode()
    if arrays:
        text += b" " * (-(4 + len(text)) % ALIGNED)
    return [
        struct.pack("<I", len(text)),
        text,
        *(a.reshape(-1).view(np.uint8).data for a in arrays),
    ]


def encode(message: Message) -> bytes:
    """The message as bytes: header length (u32), JSON header, then each array's bytes in order."""
    return b"".join(parts(message))


def _plain(value: Any, arrays: list[Array]) -> Any:
    if isinstance(value, np.ndarray):
        value = np.asarray(value, order="C")
        kind = value.dtype.newbyteorder("<").str
        if kind not in DTYPES:
            raise TypeError(f"arrays of {value.dtype} do not pass; allowed are {', '.join(DTYPES)}")
        arrays.append(value.astype(kind, copy=False))
        return {"~a": [len(arrays) - 1, kind, list(value.shape)]}
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        names = [f.name for f in dataclasses.fields(value)]
        return {"~c": type(value).__name__} | {n: _plain(getattr(value, n), arrays) for n in names}
    if isinstance(value, dict):
        return {str(k): _plain(v, arrays) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(v, arrays) for v in value]
    if isinstance(value, np.generic):
        return value.item()
    return value


def decode(blob: bytes | bytearray | memoryview, keep: int = 0) -> Message:
    """The message that `encode` wrote. Raises Malformed, never anything else.

    Arrays are copies, but for those of `keep` bytes and more in `Rows`, unless that is 0: they stay in `blob`, not to be
    written.
    """
    view = memoryview(blob)
    try:
        (length,) = struct.unpack("<I", view[:4])
        header = json.loads(bytes(view[4 : 4 + length]))
        reader = _Reader(header, view[4 + length :], keep)
        return reader.build(header)
    except Malformed:
        raise
    except Exception as e:
        raise Malformed(f"no message: {type(e).__name__}: {e}") from e


class _Reader:
    """A header's values, with the arrays that lie in `body`. Raises Malformed if they do not fill it."""

    def __init__(self, header: Any, body: memoryview, keep: int) -> None:
        sizes: dict[int, int] = {}
        _measure(header, sizes)
        self.body, self.offsets, at = body, {}, 0
        for i in range(len(sizes)):
            self.offsets[i] = at
            at += sizes[i]
        if at != len(body):
            raise Malformed(f"{len(body)} bytes of arrays where {at} were announced")
        self.keep = keep if header.get("~c") == Rows.__name__ else 0

    def build(self, value: dict[str, Any]) -> Any:
        cls = KINDS.get(value["~c"]) or PARTS[value["~c"]]
        out = {}
        for f in dataclasses.fields(cls):
            if f.name in value:
                got = self._live(value[f.name])
                out[f.name] = (
                    tuple(got) if isinstance(got, list) and "tuple" in str(f.type) else got
                )
        return cls(**out)

    def _live(self, value: Any) -> Any:
        if isinstance(value, dict):
            if "~a" in value:
                return self._array(*value["~a"])
            if "~c" in value:
                return self.build(value)
            return {k: self._live(v) for k, v in value.items()}
        if isinstance(value, list):
            return [self._live(v) for v in value]
        return value

    def _array(self, index: int, kind: str, shape: list[int]) -> Array:
        count = int(np.prod(shape)) if shape else 1
        found = np.frombuffer(self.body, dtype=kind, count=count, offset=self.offsets[index])
        stays = 0 < self.keep <= found.nbytes and found.flags.aligned
        return found.reshape(shape) if stays else found.reshape(shape).copy()


def _measure(value: Any, out: dict[int, int]) -> None:
    """Bytes of each array that a header announces, by its index."""
    if isinstance(value, dict):
        if "~a" in value:
            index, kind, shape = value["~a"]
            if kind not in DTYPES or any(not isinstance(n, int) or n < 0 for n in shape):
                raise Malformed(f"array of {kind} {shape}")
            out[index] = (
                int(np.prod([int(n) for n in shape], dtype=object)) * np.dtype(kind).itemsize
            )
            return
        for v in value.values():
            _measure(v, out)
    elif isinstance(value, list):
        for v in value:
            _measure(v, out)
