"""The safe reading of an HDF5 file into plain groups and arrays, for files that may come from anyone.

HDF5 files can point elsewhere, claim more than they hold, loop, or crash the library. So only low-level calls are
used, each thing is looked at before it is opened or read, and only what a session needs passes: hard links within
the file, groups, contiguous or compact arrays of the message dtypes without filters, scalar attributes of int64,
float64 or fixed-length text. As nothing is compressed, all arrays together cannot be larger than the file.
Libhdf5 itself may still fall over a hostile file: `loader` therefore does this in a process with limits.
"""

from __future__ import annotations

import hashlib
import math
import os
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from h5py import h5a, h5d, h5f, h5g, h5l, h5o, h5p, h5pl, h5s, h5t

from engine.sessions.session import BadSession, Limits

Array = np.ndarray[Any, Any]
Plain = int | float | str
SIGNATURE = b"\x89HDF\r\n\x1a\n"
ALLOWED = {  # HDF5 type -> dtype
    h5t.IEEE_F32LE: "<f4",
    h5t.IEEE_F64LE: "<f8",
    h5t.STD_I32LE: "<i4",
    h5t.STD_I64LE: "<i8",
    h5t.STD_U8LE: "|u1",
}


class Leaf(NamedTuple):
    array: Array
    attrs: dict[str, Plain]


@dataclass
class Group:
    path: str
    attrs: dict[str, Plain] = field(default_factory=dict)
    groups: dict[str, Group] = field(default_factory=dict)
    arrays: dict[str, Leaf] = field(default_factory=dict)


def said(text: str) -> str:
    """Text from a file as a sentence may carry it: one line, nothing invisible, not too long."""
    text = "".join(c if c.isprintable() else f"\\u{ord(c):04x}" for c in text[:200])
    return text if len(text) <= 80 else f"{text[:77]}..."


def read_tree(
    path: str | os.PathLike[str], limits: Limits, check: Callable[[Group], Any] | None
) -> Group:
    """The whole file; `check` sees the root's attributes first and may refuse. None: only those are read.

    Raises BadSession, with one sentence, for whatever is wrong.
    """
    name = said(os.path.basename(os.fspath(path)))
    try:
        return _Reader(os.fspath(path), name, limits).read(check)
    except BadSession:
        raise
    except MemoryError:
        raise BadSession(f"{name}: it needs more memory than reading a session may take") from None
    except FileNotFoundError:
        raise BadSession(f"{name}: there is no such file") from None
    except PermissionError:
        raise BadSession(f"{name}: this file may not be read by you") from None
    except Exception as e:  # h5py raises OSError, RuntimeError, KeyError, ValueError, TypeError
        words = str(e.args[0]).splitlines() if e.args else []  # a KeyError's own str has quotes
        what = said(words[0]) if words else type(e).__name__
        raise BadSession(f"{name}: damaged, it cannot be read as HDF5 ({what})") from None


class _Reader:
    def __init__(self, path: str, name: str, limits: Limits) -> None:
        self.path, self.name, self.limits = path, name, limits
        self.seen: set[int] = set()  # addresses of the objects that were opened
        self.room = 0  # bytes that arrays may still claim

    def bad(self, where: str, what: str) -> BadSession:
        return BadSession(f"{self.name}: {said(where) + ' ' if where else ''}{what}")

    def read(self, check: Callable[[Group], Any] | None) -> Group:
        found = os.stat(self.path)
        if not stat.S_ISREG(found.st_mode):
            raise self.bad("", "not an ordinary file")
        if found.st_size > self.limits.file:
            raise self.bad("", f"{found.st_size} bytes; a session has at most {self.limits.file}")
        with open(self.path, "rb") as f:
            if f.read(len(SIGNATURE)) != SIGNATURE:
                raise self.bad("", "not an HDF5 file (a session begins with the HDF5 signature)")
        self.room = min(found.st_size, self.limits.total)
        while (
            h5pl.size()
        ):  # of a file that it cannot open, libhdf5 asks every library in these folders
            h5pl.remove(0)
        access = h5p.create(h5p.FILE_ACCESS)
        access.set_fapl_sec2()
        access.set_file_locking(False, True)  # sessions are replaced whole, never edited
        access.set_fclose_degree(h5f.CLOSE_STRONG)
        fid = h5f.open(os.fsencode(self.path), h5f.ACC_RDONLY, access)
        try:
            root = h5o.open(fid, b"/")
            self.seen.add(h5o.get_info(root).addr)
            top = Group("/", self.attrs(root, "/"))
            if check is None:
                return top
            check(top)
            return self.group(root, "/", 0)
        finally:
            fid.close()

    def group(self, gid: h5g.GroupID, path: str, depth: int) -> Group:
        if depth > self.limits.depth:
            raise self.bad(path, f"is nested too deep; {self.limits.depth} levels are allowed")
        out = Group(path, self.attrs(gid, path))
        for link, label, where in self.links(gid, path):
            obj = h5o.open(gid, link)
            if isinstance(obj, h5g.GroupID):
                out.groups[label] = self.group(obj, where, depth + 1)
            elif isinstance(obj, h5d.DatasetID):
                out.arrays[label] = self.leaf(obj, where)
            else:
                raise self.bad(where, "is neither a group nor an array")
        return out

    def links(self, gid: h5g.GroupID, path: str) -> Iterator[tuple[bytes, str, str]]:
        """(link, its name, path) of what a group holds; each link is hard and leads to something new."""
        found: list[tuple[bytes, int, int]] = []

        def keep(name: bytes, info: Any) -> bool:
            found.append((name, info.type, info.u))  # h5py reuses `info`
            return len(self.seen) + len(found) > self.limits.objects

        gid.links.iterate(keep, info=True)
        if len(self.seen) + len(found) > self.limits.objects:
            raise self.bad(path, f"holds too much; {self.limits.objects} objects are allowed")
        for link, kind, address in found:
            if len(link) > self.limits.name:
                raise self.bad(
                    path, f"holds a name of {len(link)} bytes; {self.limits.name} are allowed"
                )
            try:
                label = link.decode()
            except UnicodeDecodeError:
                raise self.bad(path, "holds a name that is not UTF-8") from None
            where = f"{path.rstrip('/')}/{label}"
            if kind != h5l.TYPE_HARD:
                raise self.bad(
                    where, "is a link to somewhere else; a session refers to nothing outside itself"
                )
            if address in self.seen:
                raise self.bad(where, "is linked twice; every object has one place in a session")
            self.seen.add(address)
            yield link, label, where

    def attrs(self, obj: Any, path: str) -> dict[str, Plain]:
        count = h5a.get_num_attrs(obj)
        if count > self.limits.attributes:
            raise self.bad(
                path, f"has {count} attributes; {self.limits.attributes} are allowed on one object"
            )
        out: dict[str, Plain] = {}
        for i in range(count):
            a = h5a.open(obj, index=i)
            if len(a.name) > self.limits.name:
                raise self.bad(
                    path,
                    f"has an attribute name of {len(a.name)} bytes; {self.limits.name} are allowed",
                )
            label = a.name.decode("utf-8", "replace")
            out[label] = self.attr(a, path, label)
        return out

    def attr(self, a: h5a.AttrID, path: str, label: str) -> Plain:
        def bad(what: str) -> BadSession:
            return self.bad(path, f"has the attribute {said(label)} {what}")

        if a.get_space().get_simple_extent_type() != h5s.SCALAR:
            raise bad("that is not a single value")
        kind, size = a.get_type(), a.get_storage_size()
        if size > self.limits.text:
            raise bad(f"of {size} bytes; {self.limits.text} are allowed")
        if kind.equal(h5t.STD_I64LE) or kind.equal(h5t.IEEE_F64LE):
            number = np.zeros((), "<i8" if kind.equal(h5t.STD_I64LE) else "<f8")
            a.read(number)
            return number.item()  # type: ignore[no-any-return]
        if (
            kind.get_class() == h5t.STRING
            and not kind.is_variable_str()
            and size == kind.get_size()
        ):
            raw = np.zeros((), f"S{size}")
            a.read(raw, kind)
            try:
                return raw.tobytes().rstrip(b"\0").decode()
            except UnicodeDecodeError:
                raise bad("whose text is not UTF-8") from None
        raise bad("of a type that is not allowed; int64, float64 and fixed-length text are")

    def leaf(self, dset: h5d.DatasetID, path: str) -> Leaf:
        made = dset.get_create_plist()
        if made.get_layout() not in (h5d.COMPACT, h5d.CONTIGUOUS):
            raise self.bad(path, "is a chunked or virtual array; only contiguous ones are allowed")
        if made.get_external_count():
            raise self.bad(path, "is stored outside this file; a session holds all of its data")
        if made.get_nfilters():
            raise self.bad(path, "passes through a filter; arrays of a session are stored as is")
        kind = dset.get_type()
        dtype = next((d for t, d in ALLOWED.items() if kind.equal(t)), None)
        if dtype is None:
            raise self.bad(
                path, f"has a type that is not allowed; {', '.join(ALLOWED.values())} are"
            )
        space = dset.get_space()
        if space.get_simple_extent_type() not in (h5s.SIMPLE, h5s.SCALAR):
            raise self.bad(path, "has no shape")
        shape = space.get_simple_extent_dims() or ()
        if len(shape) > self.limits.rank:
            raise self.bad(path, f"has {len(shape)} axes; {self.limits.rank} are allowed")
        claimed = math.prod(shape) * np.dtype(dtype).itemsize
        if claimed and dset.get_storage_size() != claimed:
            raise self.bad(path, f"claims {claimed} bytes and holds {dset.get_storage_size()}")
        if claimed > self.room:
            raise self.bad(path, f"claims {claimed} bytes, more than the file can hold")
        self.room -= claimed
        array = np.zeros(shape, dtype)
        if claimed:
            dset.read(h5s.ALL, h5s.ALL, array)
        attrs = self.attrs(dset, path)
        if attrs.get("sha256") != hashlib.sha256(array.data if claimed else b"").hexdigest():
            raise self.bad(path, "does not have the bytes that were saved: its checksum differs")
        if attrs.get("kind") == "bool":
            if dtype != "|u1" or (claimed and array.max() > 1):
                raise self.bad(path, "is marked as true or false and holds something else")
            array = array.view("|b1")
        return Leaf(array, attrs)
