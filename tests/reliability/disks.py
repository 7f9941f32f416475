"""A disk in memory that stands in for `os` in `engine.sessions.disk`, records every operation, and can fail or crash.

After SQLite's crash tests: the log of one undisturbed pass is replayed up to every operation (and within writes), as a
killed process leaves it, and as a power cut does, which loses what was not synced: data operations of a file since
its last sync are each kept, dropped, torn or turned to zeros; names since the folder's last sync are kept up to some
point in time or in any combination.
"""

from __future__ import annotations

import contextlib
import errno
import os
import posixpath
import types
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

Op = tuple[Any, ...]
Files = dict[str, bytes]


def fail(number: int) -> OSError:
    return OSError(number, os.strerror(number))


class Inodes:
    """Files' bytes and names, and what each operation of a log does to them."""

    def __init__(self, start: Files) -> None:
        self.data = {i: bytearray(b) for i, b in enumerate(start.values())}
        self.names = {path: i for i, path in enumerate(start)}

    def apply(self, op: Op) -> None:
        match op:
            case ("create", path, inode):
                self.data.setdefault(inode, bytearray())
                self.names[path] = inode
            case ("write", inode, place, blob):
                held = self.data.setdefault(inode, bytearray())
                held.extend(bytes(max(0, place - len(held))))
                held[place : place + len(blob)] = blob
            case ("truncate", inode, size):
                held = self.data.setdefault(inode, bytearray())
                del held[size:]
                held.extend(bytes(size - len(held)))
            case ("link", path, new):
                if path in self.names and new not in self.names:
                    self.names[new] = self.names[path]
            case ("replace", path, new):
                same = self.names.get(path) == self.names.get(new)
                if path in self.names and not same:  # POSIX: two names of one file both stay
                    self.names[new] = self.names.pop(path)
            case ("unlink", path):
                self.names.pop(path, None)
            case ("sync", _) | ("sync folder", _):
                pass
            case _:
                raise AssertionError(op)

    def files(self) -> Files:
        return {path: bytes(self.data.get(i, b"")) for path, i in self.names.items()}


class Memory:
    """`os` on a disk in memory. `trouble(n, name)` may give an error for the n-th operation that changes the disk."""

    def __init__(self, start: Files, trouble: Callable[[int, str], OSError | None] | None = None):
        self.start = dict(start)
        self.now = Inodes(self.start)
        self.log: list[Op] = []
        self.calls: list[str] = []
        self.marks: dict[str, int] = {}  # named moments, as lengths of the log
        self.trouble = trouble
        self.open_files: dict[int, tuple[int, str]] = {}
        self.places: dict[int, int] = {}
        self.path = posixpath

    def __getattr__(self, name: str) -> Any:
        if name.startswith(("O_", "SEEK_")) or name == "strerror":
            return getattr(os, name)
        raise AttributeError(f"the disk in memory has no {name}")

    def mark(self, name: str) -> None:
        self.marks[name] = len(self.log)

    def _may(self, name: str) -> None:
        self.calls.append(name)
        if self.trouble is not None and (e := self.trouble(len(self.calls) - 1, name)) is not None:
            raise e

    def _do(self, *op: Any) -> None:
        self.log.append(op)
        self.now.apply(op)

    # --- what `disk` calls ---

    def open(self, path: str, flags: int, mode: int = 0o777) -> int:
        fd = 1000 + len(self.places)
        if path in self.now.names:
            if flags & os.O_EXCL:
                raise fail(errno.EEXIST)
            inode = self.now.names[path]
        elif flags & os.O_CREAT:
            self._may("create")
            inode = 1 + max(self.now.data, default=-1)
            self._do("create", path, inode)
        elif any(name.startswith(path + "/") for name in self.now.names) or path == "/":
            inode = -1
        else:
            raise fail(errno.ENOENT)
        self.open_files[fd], self.places[fd] = (inode, path), 0
        return fd

    def close(self, fd: int) -> None:
        del self.open_files[fd]

    def write(self, fd: int, data: Any) -> int:
        self._may("write")
        blob = bytes(data)
        self._do("write", self.open_files[fd][0], self.places[fd], blob)
        self.places[fd] += len(blob)
        return len(blob)

    def read(self, fd: int, size: int) -> bytes:
        blob = bytes(self.now.data[self.open_files[fd][0]][self.places[fd] :][:size])
        self.places[fd] += len(blob)
        return blob

    def lseek(self, fd: int, place: int, whence: int) -> int:
        assert whence == os.SEEK_SET
        self.places[fd] = place
        return place

    def ftruncate(self, fd: int, size: int) -> None:
        self._may("truncate")
        self._do("truncate", self.open_files[fd][0], size)

    def fsync(self, fd: int) -> None:
        inode, path = self.open_files[fd]
        self._may("sync folder" if inode < 0 else "sync")
        self._do(*(("sync folder", path) if inode < 0 else ("sync", inode)))

    fdatasync = fsync

    def fchmod(self, fd: int, mode: int) -> None:
        self._may("chmod")

    def stat(self, path: str) -> Any:
        if path not in self.now.names:
            raise fail(errno.ENOENT)
        return types.SimpleNamespace(st_mode=0o100644)

    def link(self, path: str, new: str) -> None:
        self._may("link")
        if new in self.now.names:
            raise fail(errno.EEXIST)
        self._do("link", path, new)

    def replace(self, path: str, new: str) -> None:
        if path not in self.now.names:
            raise fail(errno.ENOENT)
        self._may("replace")
        self._do("replace", path, new)

    def unlink(self, path: str) -> None:
        if path not in self.now.names:
            raise fail(errno.ENOENT)
        self._may("unlink")
        self._do("unlink", path)

    def listdir(self, folder: str) -> list[str]:
        return [posixpath.basename(p) for p in self.now.names if posixpath.dirname(p) == folder]


# --- what a crash leaves ---


def killed(memory: Memory, points: int = 4) -> Iterator[tuple[int, Files]]:
    """(operations that were done, files) after a kill at each operation and at `points` places within each write."""
    for done in range(len(memory.log) + 1):
        disk = Inodes(memory.start)
        for op in memory.log[:done]:
            disk.apply(op)
        yield done, disk.files()
        if done < len(memory.log) and memory.log[done][0] == "write":
            _, inode, place, blob = memory.log[done]
            for part in np.unique(np.linspace(1, len(blob) - 1, points).astype(int)):
                disk.apply(("write", inode, place, blob[:part]))
                yield done, disk.files()


def cut_off(memory: Memory, times: int, seed: int) -> Iterator[tuple[int, Files]]:
    """(operations that were done, files) after a power cut at each operation, `times` different ones each."""
    rng = np.random.default_rng(seed)
    for done in range(len(memory.log) + 1):
        for _ in range(times):
            yield done, _cut(memory, done, rng)


def _cut(memory: Memory, done: int, rng: np.random.Generator) -> Files:
    log = memory.log[:done]
    synced = {op[1]: i for i, op in enumerate(log) if op[0] == "sync"}
    folders = {op[1]: i for i, op in enumerate(log) if op[0] == "sync folder"}
    in_order, until = rng.random() < 0.6, rng.integers(0, done + 1)
    disk = Inodes(memory.start)
    for i, op in enumerate(log):
        if op[0] in ("create", "link", "replace", "unlink"):
            durable = i < folders.get(posixpath.dirname(op[1]), -1)
            if durable or (i < until if in_order else rng.random() < 0.5):
                disk.apply(op)
        elif op[0] in ("write", "truncate"):
            if i < synced.get(op[1], -1):
                disk.apply(op)
            else:
                disk_loses(disk, op, rng)
    return disk.files()


def disk_loses(disk: Inodes, op: Op, rng: np.random.Generator) -> None:
    """An operation on a file's bytes that was not synced: kept, dropped, torn or zeros."""
    fate = rng.choice(["kept", "dropped", "torn", "zeros"])
    if fate == "kept":
        disk.apply(op)
    elif op[0] == "write" and fate != "dropped":
        _, inode, place, blob = op
        part = blob[: int(rng.integers(0, len(blob) + 1))]
        disk.apply(("write", inode, place, part if fate == "torn" else bytes(len(blob))))


@contextlib.contextmanager
def standing_in(memory: Memory) -> Iterator[Memory]:
    """`engine.sessions.disk` on this disk, with its locks always free."""
    from engine.sessions import disk

    before = disk.os, disk.lock
    disk.os, disk.lock = memory, lambda fd, shared=False: True
    try:
        yield memory
    finally:
        disk.os, disk.lock = before
