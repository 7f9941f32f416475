"""A file that says who has something, and is theirs as long as their process lives."""

from __future__ import annotations

import contextlib
import json
import os
import platform
from typing import Any

from engine.sessions import disk


class Held(OSError):
    """Another process has it; `who` names it: "process 4711 on pc7"."""

    def __init__(self, who: str) -> None:
        super().__init__(who)
        self.who = who


class Lock:
    """Taken when made. Raises Held, or OSError where no such file can be.

    The kernel frees a dead holder's lock, so that the file that it left means nothing; what is let go is removed.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = os.path.abspath(os.fspath(path))
        while True:
            fd = os.open(self.path, os.O_RDWR | os.O_CREAT | disk.BINARY, 0o644)
            try:
                if not disk.lock(fd):
                    raise Held(holder(self.path))
                if _same(fd, self.path):  # and not one that its holder has just removed
                    me = json.dumps({"host": platform.node(), "pid": os.getpid()})
                    disk.write_at(fd, 0, me.encode())
                    disk.cut(fd, len(me.encode()))
                    self.fd = fd
                    return
            except BaseException:
                os.close(fd)
                raise
            os.close(fd)

    def release(self, remove: bool = True) -> None:
        if self.fd < 0:
            return
        if remove:
            with contextlib.suppress(OSError):  # Windows removes no file that is open
                os.unlink(self.path)
        os.close(self.fd)
        self.fd = -1
        if remove and os.name == "nt":
            with contextlib.suppress(OSError):
                os.unlink(self.path)


def beside(path: str) -> str:
    """Where the lock of a session file lies."""
    folder, name = os.path.split(os.path.realpath(path))
    return os.path.join(folder, f".{name}.lock")


def holder(path: str) -> str:
    """Who wrote a lock file last, in words."""
    who: Any = {}
    with contextlib.suppress(OSError, ValueError):
        who = json.loads(disk.read_all(path)[:1000])
    if not isinstance(who, dict):
        who = {}
    host = "".join(c for c in str(who.get("host", "?")) if c.isprintable())[:80]
    pid = who.get("pid")
    return f"process {pid if isinstance(pid, int) else '?'} on {host}"


def is_free(path: str) -> bool:
    """Whether nobody has the lock in this file; also if there is none."""
    try:
        fd = os.open(path, os.O_RDWR | disk.BINARY)
    except FileNotFoundError:
        return True
    try:
        return disk.lock(fd, shared=True)
    finally:
        os.close(fd)


def _same(fd: int, path: str) -> bool:
    try:
        return os.path.samestat(os.fstat(fd), os.stat(path))
    except FileNotFoundError:
        return False
