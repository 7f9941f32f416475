"""The few things that are done to a disk, each checked: whole writes, syncs, replacing a file at once.

Every call goes through this module's `os`, so that tests can put a recording or failing disk in its place.
"""

from __future__ import annotations

import contextlib
import errno
import os
import sys

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
NO_LINKS = (errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK, errno.EXDEV)
BINARY = getattr(os, "O_BINARY", 0)  # Windows


def write_all(fd: int, data: bytes | memoryview) -> None:
    """Writes every byte or raises OSError: `write` may take fewer bytes than it was given and say nothing."""
    view = memoryview(data)
    while view:
        taken = os.write(fd, view)
        if taken <= 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        view = view[taken:]


def sync(fd: int) -> None:
    """Returns once the file's bytes would survive a power cut."""
    if sys.platform == "darwin":
        import fcntl

        fcntl.fcntl(fd, fcntl.F_FULLFSYNC)
    elif hasattr(os, "fdatasync"):
        os.fdatasync(fd)
    else:
        os.fsync(fd)


def sync_folder(folder: str) -> None:
    """Returns once the folder's names would survive a power cut; where folders cannot be synced, at once."""
    if sys.platform == "win32":
        return
    fd = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(fd)
    except OSError as e:
        if e.errno not in (errno.EINVAL, errno.ENOTSUP):
            raise
    finally:
        os.close(fd)


def write_new(path: str, data: bytes, mode: int | None = None) -> None:
    """A new file with its bytes on the disk; its name is durable after `sync_folder`."""
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | BINARY, 0o666)
    try:
        if mode is not None and hasattr(os, "fchmod"):
            os.fchmod(fd, mode)
        write_all(fd, data)
        sync(fd)
    finally:
        os.close(fd)


def read_all(path: str) -> bytes:
    fd = os.open(path, os.O_RDONLY | BINARY)
    parts = []
    try:
        while part := os.read(fd, 1 << 20):
            parts.append(part)
    finally:
        os.close(fd)
    return b"".join(parts)


def mode_of(path: str) -> int | None:
    """A file's permission bits; None if it is not there."""
    try:
        return os.stat(path).st_mode & 0o777
    except FileNotFoundError:
        return None


def remove(path: str) -> None:
    """Removes a file if it is there."""
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)


def replace(path: str, target: str) -> None:
    """`path` takes the target's place at once."""
    os.replace(path, target)


def keep_previous(path: str, backup: str, aside: str) -> None:
    """Makes `backup` the file that `path` is now, without a moment in which either is missing."""
    try:
        os.link(path, aside)
    except OSError as e:
        if e.errno not in NO_LINKS:
            raise
        write_new(aside, read_all(path))
    try:
        os.replace(aside, backup)
    finally:
        remove(aside)  # if both names were the same file already, replacing leaves it there


# --- what an append-only file needs ---


def open_journal(path: str) -> int:
    return os.open(path, os.O_RDWR | os.O_CREAT | BINARY, 0o600)


def write_at(fd: int, place: int, data: bytes) -> None:
    os.lseek(fd, place, os.SEEK_SET)
    write_all(fd, data)


def cut(fd: int, size: int) -> None:
    os.ftruncate(fd, size)


def close(fd: int) -> None:
    os.close(fd)


def names(folder: str) -> list[str]:
    return os.listdir(folder)


def lock(fd: int, shared: bool = False) -> bool:
    """Takes the file's lock until it is closed; False if another has it. The kernel frees a dead holder's lock."""
    if sys.platform == "win32":
        import msvcrt

        here = os.lseek(fd, 0, os.SEEK_CUR)
        os.lseek(fd, 1 << 62, os.SEEK_SET)  # far behind the data, which others may then still read
        try:
            msvcrt.locking(fd, msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        finally:
            os.lseek(fd, here, os.SEEK_SET)
        return True
    import fcntl

    try:
        fcntl.flock(fd, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
