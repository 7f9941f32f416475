"""Files that attack the reader: no HDF5, links, data elsewhere, too much of it, types that are not allowed."""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from h5py import h5d, h5g, h5p, h5s, h5t

from tests.reliability.corpus import (
    CHUNKED,
    DAMAGED,
    ELSEWHERE,
    LOSS,
    PLAIN,
    TYPES,
    begin,
    case,
    put,
    raw,
    sound,
    spoilt,
)

# --- no HDF5 at all ---

NO_HDF5 = "not an HDF5 file (a session begins with the HDF5 signature)"
raw("empty", NO_HDF5, lambda b: b"")
raw("text", NO_HDF5, lambda b: b"step,loss\n0,1.0\n")
raw("zeros", NO_HDF5, lambda b: bytes(len(b)))
raw("script-in-front", NO_HDF5, lambda b: b"#!/bin/sh\nexit\n".ljust(512) + b)
raw("signature-only", DAMAGED, lambda b: b[:8])
raw("half", DAMAGED, lambda b: b[: len(b) // 2])
raw("a-byte-short", DAMAGED, lambda b: b[:-1])
raw("superblock-version", DAMAGED, lambda b: b[:8] + b"\x09" + b[9:])
raw("root-address", DAMAGED, lambda b: b[:36] + b"\xff" * 8 + b[44:])
case("pipe", "not an ordinary file")(os.mkfifo)
case("folder", "not an ordinary file")(os.mkdir)


@case("too-large", f"{1 << 30} bytes; a session has at most {512 << 20}")
def _(path: Path) -> None:
    sound(path)
    os.truncate(path, 1 << 30)  # sparse


@case("foreign", "an HDF5 file, yet no Lemmascope session")
def _(path: Path) -> None:
    with h5py.File(path, "w") as f:
        f["data"] = np.arange(5)


# --- links ---


@spoilt("external-link", f"/runs/2 {ELSEWHERE}")
def _(f):
    f["runs/2"] = h5py.ExternalLink("decoy.h5", "/")


@spoilt("external-link-absolute", f"/{LOSS}/coords {ELSEWHERE}")
def _(f):
    f[LOSS + "/coords"] = h5py.ExternalLink("/etc/hostname", "/")


@spoilt("external-link-to-pipe", f"/extra {ELSEWHERE}")
def _(f):
    f["extra"] = h5py.ExternalLink("decoy-pipe", "/")


@spoilt("soft-link", f"/runs/2 {ELSEWHERE}")
def _(f):
    f["runs/2"] = h5py.SoftLink("/runs/1")


@spoilt("soft-link-loop", f"/loop {ELSEWHERE}")
def _(f):
    f["loop"] = h5py.SoftLink("/loop")


TWICE = "is linked twice; every object has one place in a session"


@spoilt("linked-twice", f"/runs/1/metrics/loss/2/values {TWICE}")
def _(f):
    del f[LOSS + "/values"]
    f[LOSS + "/values"] = f["runs/1/metrics/loss/2/values"]  # which comes later in the walk


@spoilt("cycle", f"/runs/1/again {TWICE}")
def _(f):
    f["runs/1/again"] = f["runs"]


@spoilt("root-in-itself", f"/runs/2 {TWICE}")
def _(f):
    f["runs/2"] = f["/"]


# --- data that is elsewhere, or more than it seems ---


@spoilt(
    "external-storage",
    f"/{LOSS}/values is stored outside this file; a session holds all of its data",
)
def _(f):
    del f[LOSS + "/values"]
    f.create_dataset(LOSS + "/values", (100,), "u1", external=[("/etc/passwd", 0, 100)])


@spoilt("virtual", f"/{LOSS}/values {CHUNKED}")
def _(f):
    layout = h5py.VirtualLayout((5,), "f8")
    layout[:] = h5py.VirtualSource("decoy.h5", "secret", (5,))
    del f[LOSS + "/values"]
    f.create_virtual_dataset(LOSS + "/values", layout)


@spoilt("virtual-of-itself", f"/extra {CHUNKED}")
def _(f):
    layout = h5py.VirtualLayout((5,), "f8")
    layout[:] = h5py.VirtualSource(".", "extra", (5,))
    f.create_virtual_dataset("extra", layout)


def low(
    f: h5py.File, name: str, shape: tuple[int, ...], kind: Any, change: Callable[[Any], None]
) -> Any:
    made = h5p.create(h5p.DATASET_CREATE)
    change(made)
    return h5d.create(f.id, name.encode(), kind, h5s.create_simple(shape), made)


@spoilt("claims-8-PiB", f"/extra claims {1 << 53} bytes and holds 0")
def _(f):
    low(f, "extra", (1 << 50,), h5t.IEEE_F64LE, lambda made: made.set_layout(h5d.CONTIGUOUS))


@spoilt("claims-without-bytes", "/extra claims 8000 bytes and holds 0")
def _(f):
    low(f, "extra", (10, 100), h5t.IEEE_F64LE, lambda made: made.set_layout(h5d.CONTIGUOUS))


@spoilt("chunk-of-4-GiB", f"/extra {CHUNKED}")
def _(f):
    low(f, "extra", (1 << 40,), h5t.STD_U8LE, lambda made: made.set_chunk(((1 << 32) - 1,)))


@spoilt("chunked", f"/{LOSS}/steps {CHUNKED}")
def _(f):
    del f[LOSS + "/steps"]
    f.create_dataset(LOSS + "/steps", data=np.arange(7), chunks=(7,))


@spoilt("gzip-bomb", f"/extra {CHUNKED}")
def _(f):
    f.create_dataset("extra", (1 << 28,), "u1", chunks=(1 << 24,), compression="gzip", fillvalue=0)


@spoilt("gzip-bomb-in-a-small-chunk", f"/extra {CHUNKED}")
def _(f):
    dset = f.create_dataset("extra", (1024,), "u1", chunks=(1024,), compression="gzip")
    dset.id.write_direct_chunk((0,), zlib.compress(bytes(1 << 26), 9))


@spoilt("unknown-filter", f"/extra {CHUNKED}")
def _(f):
    def change(made: Any) -> None:
        made.set_chunk((8,))
        made.set_filter(32_000, h5py.h5z.FLAG_OPTIONAL, ())

    low(f, "extra", (8,), h5t.STD_U8LE, change)


@case("one-place-twice", f"/b claims {1 << 20} bytes, more than the file can hold")
def _(path: Path) -> None:
    """Two arrays at one address: together they claim more than there is."""
    with h5py.File(path, "w", libver="earliest") as f:
        begin(f)
        a, b = (put(f, n, np.zeros(1 << 20, np.uint8)).id.get_offset() for n in "ab")
    blob = path.read_bytes()
    assert blob.count(struct.pack("<Q", b)) == 1
    blob = blob.replace(struct.pack("<Q", b), struct.pack("<Q", a))
    blob = blob[: len(blob) - (1 << 20)] if b > a else blob
    end = struct.pack("<Q", os.path.getsize(path))
    path.write_bytes(blob.replace(end, struct.pack("<Q", len(blob)), 1))


# --- too much of it ---


@spoilt("deep", "/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a is nested too deep; 16 levels are allowed")
def _(f):
    f.create_group("a/" * 300)


@case("many-groups", "/ holds too much; 60000 objects are allowed")
def _(path: Path) -> None:
    with h5py.File(path, "w", libver="earliest") as f:
        begin(f)
        for i in range(60_000):
            h5g.create(f.id, b"%d" % i)


@spoilt("long-name", "/runs holds a name of 60000 bytes; 1000 are allowed")
def _(f):
    f["runs"].create_group("n" * 60_000)


@spoilt("large-attribute", f"/runs/1 has the attribute extra of {1 << 20} bytes; 65536 are allowed")
def _(f):
    f["runs/1"].attrs["extra"] = np.bytes_(b"x" * (1 << 20))


@spoilt("many-attributes", "/runs/1/status has 71 attributes; 64 are allowed on one object")
def _(f):
    for i in range(66):
        f["runs/1/status"].attrs[f"a{i}"] = 1


@spoilt("nine-axes", "/extra has 9 axes; 8 are allowed")
def _(f):
    put(f, "extra", np.zeros((1,) * 9))


# --- types ---


@spoilt("variable-text-attribute", f"/runs/1 has the attribute preset {PLAIN}")
def _(f):
    del f["runs/1"].attrs["preset"]
    f["runs/1"].attrs["preset"] = "variable"


@spoilt("variable-text", f"/extra {TYPES}")
def _(f):
    f["extra"] = "variable"


@spoilt("variable-array", f"/extra {TYPES}")
def _(f):
    f.create_dataset("extra", (3,), h5py.vlen_dtype("f8"))


@spoilt("reference", f"/ has the attribute extra {PLAIN}")
def _(f):
    f.attrs["extra"] = f["runs/1"].ref


@spoilt("compound", f"/extra {TYPES}")
def _(f):
    f["extra"] = np.zeros(3, [("a", "f8"), ("b", "i4")])


@spoilt("opaque-pickle", f"/extra {TYPES}")
def _(f):
    f["extra"] = np.void(b"\x80\x04\x95cos\nsystem\n(S'true'\ntR.")


@spoilt("enumeration", f"/extra {TYPES}")
def _(f):
    f["extra"] = np.zeros(3, bool)


@spoilt("half-precision", f"/{LOSS}/values {TYPES}")
def _(f):
    put(f, LOSS + "/values", np.zeros((7, 2), "f2"))


@spoilt("big-endian", f"/{LOSS}/values {TYPES}")
def _(f):
    put(f, LOSS + "/values", np.zeros((7, 2), ">f8"))


@spoilt("text-array", f"/{LOSS}/values {TYPES}")
def _(f):
    put(f, LOSS + "/values", np.full((7, 2), b"0.1"))


@spoilt("named-type", "/extra is neither a group nor an array")
def _(f):
    f["extra"] = np.dtype("f8")


@spoilt("no-shape", "/extra has no shape")
def _(f):
    f["extra"] = h5py.Empty("f8")


@spoilt("array-attribute", "/runs/1 has the attribute steps that is not a single value")
def _(f):
    f["runs/1"].attrs["steps"] = np.arange(3)


@spoilt("empty-attribute", "/runs/1 has the attribute steps that is not a single value")
def _(f):
    f["runs/1"].attrs["steps"] = h5py.Empty("i8")


@spoilt("attribute-not-utf8", "/runs/1 has the attribute why whose text is not UTF-8")
def _(f):
    f["runs/1"].attrs["why"] = np.bytes_(b"\xff\xfe")


@spoilt("name-not-utf8", "/ holds a name that is not UTF-8")
def _(f):
    h5g.create(f.id, b"\xff\xfe")


@spoilt("name-with-tricks", "/runs holds 'run \\u202e5h.exe\\u000a', which is no numbered group")
def _(f):
    f["runs"].create_group("run \u202e5h.exe\n")
