"""Saves a session so that the file is the old one or the new one and never a third thing.

A helper process builds the new file's bytes, writes them beside the target, syncs, reads them back and compares,
keeps the previous file as `<name>.bak`, and moves the new one into its place.
"""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import json
import os
import shutil
import stat
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from multiprocessing.connection import Connection
from typing import Any

import numpy as np

from engine.encoding import decode, encode, parts
from engine.messages import Card, Catalogue, Message
from engine.sessions import disk
from engine.sessions.child import Child, Gone
from engine.sessions.session import BadSession, Limits, is_session, read

PIECE = 1 << 18  # bytes compared at once
STALE = 3600  # seconds after which what a killed saver left beside its target is swept away
WHY = {
    errno.ENOSPC: "the disk is full",
    errno.EDQUOT: "the quota is used up",
    errno.EFBIG: "the disk takes no file of that size",
    errno.EACCES: "you may not write there",
    errno.EPERM: "you may not write there",
    errno.EROFS: "the disk is read-only",
    errno.EIO: "the disk reports an error",
    errno.ENOENT: "its folder is not there",
    errno.ENOTDIR: "its folder is not there",
    errno.ENAMETOOLONG: "its name is too long",
    errno.EISDIR: "there is a folder of that name",
}


class SaveFailed(OSError):
    """Nothing was saved, and what was there before is as it was; in one sentence."""


def save(
    path: str | os.PathLike[str],
    runs: Iterable[Iterable[Message]],
    notes: str = "",
    layout: str = "",
    cards: Mapping[str, Card] = {},
    *,
    overwrite: bool = False,
    timeout: float = 0,
) -> None:
    """Saves runs to `path`. A file there that is no session is replaced only with `overwrite`.

    Raises SaveFailed, or ValueError for messages that are no run, each in one sentence.
    `timeout` 0: a minute, and a second for each 4 MB.
    """
    target = os.path.realpath(os.fspath(path))
    temp = os.path.join(
        os.path.dirname(target), f".{os.path.basename(target)}.{os.getpid()}-{time.time_ns()}.tmp"
    )
    head: dict[str, Any] = {"target": target, "temp": temp, "notes": notes, "layout": layout}
    head |= {"overwrite": overwrite, "cards": list(cards)}
    streams = [list(run) for run in runs]
    size = sum(_weight(message) for run in streams for message in run)
    try:
        with Child("engine.sessions.saver:serve", "", timeout or 60 + size / 4e6) as child:
            for blob in _frames(head, streams, cards):  # made while the process starts
                if not child.send(blob):
                    break
            answers = [json.loads(a) for a in child.frames(1 << 20)]
    except Gone as e:
        raise SaveFailed(
            f"{os.path.basename(target)} was not saved: the process that saves {e}"
        ) from None
    finally:
        for left in (temp, temp + ".bak"):
            with contextlib.suppress(OSError):
                os.unlink(left)
    for answer in answers:
        raise (ValueError if answer["kind"] == "messages" else SaveFailed)(answer["why"])


def _weight(message: Message) -> int:
    """Bytes of a message's arrays."""
    held = [getattr(message, f.name) for f in dataclasses.fields(message)]
    held += [v for table in held if isinstance(table, dict) for v in table.values()]
    return sum(v.nbytes for v in held if isinstance(v, np.ndarray))


def _frames(
    head: dict[str, Any], runs: list[list[Message]], cards: Mapping[str, Card]
) -> Iterator[bytes]:
    yield json.dumps(head).encode()
    for card in cards.values():
        yield encode(Catalogue((card,), ()))
    for run in runs:
        yield b"run"
        for message in run:
            yield encode(message)
    yield b""


def _alike(a: list[Message], b: list[Message]) -> bool:
    """Whether messages are the same, byte for byte as `encode` gives them."""
    return len(a) == len(b) and all(
        len(own := parts(m)) == len(other := parts(n)) and all(map(_same, own, other))
        for m, n in zip(a, b, strict=True)
    )


def _same(a: bytes | memoryview, b: bytes | memoryview) -> bool:
    """Bytes against bytes in small pieces: views alone are compared byte by byte, a hundred times slower."""
    a, b = memoryview(a), memoryview(b)
    places = range(0, len(a), PIECE)
    return len(a) == len(b) and all(
        a[i : i + PIECE].tobytes() == b[i : i + PIECE].tobytes() for i in places
    )


def serve(connection: Connection, _: str) -> None:
    """Runs in the saving process: takes a header, cards and messages as frames; answers what went wrong, if it did."""
    head: dict[str, Any] = json.loads(connection.recv_bytes())
    cards = {str(name): decode(connection.recv_bytes()).cards[0] for name in head["cards"]}
    runs: list[list[Message]] = []
    while blob := connection.recv_bytes():
        if blob == b"run":
            runs.append([])
        else:
            runs[-1].append(decode(blob))
    trouble: dict[str, str] = {}
    try:
        write(
            head["target"],
            head["temp"],
            runs,
            head["notes"],
            head["layout"],
            cards,
            head["overwrite"],
        )
    except SaveFailed as e:
        trouble = {"kind": "disk", "why": str(e)}
    except OSError as e:
        name = os.path.basename(head["target"])
        trouble = {"kind": "disk", "why": str(failed(name, _why(e)))}
    except ValueError as e:
        trouble = {"kind": "messages", "why": str(e)}
    if trouble:
        connection.send_bytes(json.dumps(trouble).encode())
    connection.send_bytes(b"")


def write(
    target: str,
    temp: str,
    runs: list[list[Message]],
    notes: str,
    layout: str,
    cards: Mapping[str, Card],
    overwrite: bool,
) -> None:
    """Builds, checks and puts into place. Raises SaveFailed, or ValueError for messages that are no run."""
    from engine.sessions.writing import Stream, image

    name, folder = os.path.basename(target), os.path.dirname(target)
    check_place(target, overwrite)
    streams = [Stream.of(run).joined() for run in runs]
    blob = image(streams, notes=notes, layout=layout, cards=cards)
    if len(blob) > Limits().total:
        most = _size(Limits().total)
        raise failed(name, f"it would have {_size(len(blob))}; a session has {most} at most")
    usage = shutil.disk_usage(folder)
    if usage.total and usage.free < len(blob):
        raise failed(name, f"it needs {_size(len(blob))} and the disk has {_size(usage.free)} free")
    want = [m for stream in streams for m in stream.messages()]

    def verify(path: str) -> None:
        try:
            got = read(path)
        except BadSession as e:
            raise failed(name, f"what was written could not be read back ({e})") from None
        same = _alike([m for run in got.runs for m in run], want)
        if not (same and got.notes == notes and got.layout == layout and got.cards == dict(cards)):
            raise failed(name, "what was written read back differently")

    commit(target, temp, blob, verify)
    sweep(target)


def check_place(target: str, overwrite: bool) -> None:
    """Raises SaveFailed where no file may be put."""
    name, folder = os.path.basename(target), os.path.dirname(target)
    if not os.path.isdir(folder):
        raise failed(name, f"there is no folder {folder}")
    if not os.path.lexists(target):
        return
    found = os.stat(target)
    if stat.S_ISDIR(found.st_mode):
        raise failed(name, WHY[errno.EISDIR])
    if not stat.S_ISREG(found.st_mode):
        raise failed(name, "what is there is not an ordinary file")
    if not found.st_mode & stat.S_IWUSR or not os.access(target, os.W_OK):
        raise failed(name, "the file there is read-only")
    if found.st_size and not overwrite and not is_session(target):
        raise failed(name, "the file there is no Lemmascope session and would be lost")


def commit(target: str, temp: str, blob: bytes, verify: Callable[[str], None]) -> None:
    """The new file's bytes into the target's place, by way of `temp`. Raises SaveFailed; then no `temp` is left."""
    name = os.path.basename(target)
    placed = False
    try:
        mode = disk.mode_of(target)
        disk.write_new(temp, blob, mode)
        verify(temp)
        if mode is not None:
            disk.keep_previous(target, f"{target}.bak", f"{temp}.bak")
        disk.replace(temp, target)
        placed = True
        disk.sync_folder(os.path.dirname(target))
    except OSError as e:
        if placed:
            raise SaveFailed(
                f"{name} is saved, but the disk does not confirm that it would survive a power cut ({_why(e)})"
            ) from None
        with contextlib.suppress(OSError):
            disk.remove(temp)
        raise e if isinstance(e, SaveFailed) else failed(name, _why(e)) from None


def sweep(target: str) -> None:
    """Removes what killed savers left beside this target."""
    folder, name = os.path.split(target)
    with contextlib.suppress(OSError):
        for entry in os.scandir(folder):
            ours = entry.name.startswith(f".{name}.") and entry.name.endswith((".tmp", ".tmp.bak"))
            if ours and time.time() - entry.stat(follow_symlinks=False).st_mtime > STALE:
                os.unlink(entry.path)


def failed(name: str, why: str) -> SaveFailed:
    return SaveFailed(f"{name} was not saved: {why}")


def _why(error: OSError) -> str:
    return WHY.get(error.errno or 0, str(error.strerror or error))


def _size(count: int) -> str:
    return f"{count / 1e6:.1f} MB" if count >= 1e6 else f"{count / 1e3:.0f} kB"
