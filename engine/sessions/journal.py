"""The journal of a run: an append-only file that a worker writes before it sends, and what can be had back from it.

A record is a header (magic, the journal's id, sequence number, payload's length, CRC-32 over the header before it
and the payload) and a payload: one byte of kind, then `encoding.encode` bytes (`m`), a reference to a large
checkpoint's own file (`f`), or who holds the journal (`h`). A process that dies loses nothing that was appended, a
power cut what was appended since the last `sync`. Damage anywhere costs the records it touches and no others.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import platform
import re
import struct
import time
import zlib
from collections.abc import Iterator
from typing import Any, NamedTuple

from engine.encoding import Malformed, decode, encode
from engine.messages import Checkpoint, Message
from engine.sessions import disk

MAGIC = b"LMJ1"
HEADER = struct.Struct("<4s8sQI")  # magic, id, sequence number, payload's length
CRC = struct.Struct("<I")
SIZE = HEADER.size + CRC.size
LARGE = 8 << 20  # bytes of arrays from which on a checkpoint has a file of its own
LONGEST = 1 << 30  # bytes of a payload
EVERY = 1.0  # seconds between syncs
SUFFIX = ".journal"


class JournalFailed(OSError):
    """A record could not be kept, in one sentence. Those before it are as they were."""


class JournalFull(JournalFailed):
    """The disk is full; the journal ends with its last whole record."""


class JournalHeld(JournalFailed):
    """Another process holds this journal; the sentence names its host and process."""


class Record(NamedTuple):
    journal: bytes  # its id
    number: int
    kind: bytes
    body: bytes
    end: int  # where the next record begins


class Orphan(NamedTuple):
    """A run whose journals nobody holds: what a crash left."""

    path: str  # its folder
    experiment: str
    steps: int  # the last step that it knows of
    last: float  # time of its last record, seconds since 1970
    preview: Any = None  # (2, n): steps and one reading's mean over the members


def records(data: bytes) -> Iterator[Record]:
    """Every whole record of a journal's bytes, however damaged they are around it.

    The id and increasing numbers keep out records of other journals, and older ones, that stand inside a payload.
    """
    at, last, own = 0, -1, b""
    while (at := data.find(MAGIC, at)) >= 0:
        found = _record(data, at)
        if found is not None and found.number > last and own in (b"", found.journal):
            own, last, at = found.journal, found.number, found.end
            yield found
        else:
            at += 1


def _record(data: bytes, at: int) -> Record | None:
    body = at + SIZE
    if body > len(data):
        return None
    _, journal, number, length = HEADER.unpack(data[at : at + HEADER.size])
    end = body + length
    if not 1 <= length <= LONGEST or end > len(data):
        return None
    (crc,) = CRC.unpack(data[at + HEADER.size : body])
    payload = data[body:end]
    if zlib.crc32(payload, zlib.crc32(data[at : at + HEADER.size])) != crc:
        return None
    return Record(journal, number, payload[:1], payload[1:], end)


class Writer:
    """Appends messages to a journal and holds it. An existing one is continued after its last whole record.

    Raises JournalHeld if another process has it. Not for several threads at once.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = os.path.abspath(os.fspath(path))
        self.name = os.path.basename(self.path)
        self.broken = ""  # why nothing more can be appended
        new = disk.mode_of(self.path) is None
        try:
            self.fd = disk.open_journal(self.path)
        except OSError as e:
            raise JournalFailed(f"{self.name}: cannot be written ({e.strerror})") from None
        try:
            if not _taken(self.fd):
                raise JournalHeld(f"{self.name}: {_holder(self.path)} writes it")
            self.id, self.next, self.end = os.urandom(8), 0, 0
            for r in records(disk.read_all(self.path)):
                self.id, self.next, self.end = r.journal, r.number + 1, r.end
            disk.cut(self.fd, self.end)
            self.dirty, self.synced = True, time.monotonic()
            self._put(b"h", json.dumps(_me()).encode())
            self.sync()
            if new:
                disk.sync_folder(os.path.dirname(self.path))
        except BaseException:
            disk.close(self.fd)
            raise

    def __enter__(self) -> Writer:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def append(self, message: Message, blob: bytes | None = None) -> None:
        """Keeps a message. Raises JournalFull or JournalFailed; then the journal ends with its last whole record.

        `blob`: what `encode` made of it, if someone else needs that too.
        """
        blob = encode(message) if blob is None else blob
        if isinstance(message, Checkpoint) and len(blob) > LARGE:
            self._put(b"f", self._beside(blob))
        else:
            self._put(b"m", blob)

    def tick(self) -> None:
        """Syncs if there is something new and the last sync was a second ago."""
        if self.dirty and time.monotonic() - self.synced >= EVERY:
            self.sync()

    def sync(self) -> None:
        """Returns once all that was appended would survive a power cut."""
        self._able()
        try:
            disk.sync(self.fd)
        except OSError as e:
            # after a failed sync the kernel may have dropped what it could not write
            self.broken = f"{self.name}: the disk does not confirm what was written ({e.strerror})"
            raise JournalFailed(self.broken) from None
        self.dirty, self.synced = False, time.monotonic()

    def close(self) -> None:
        """Syncs if it can, and lets the journal go; it stays on the disk."""
        if self.fd < 0:
            return
        try:
            if self.dirty and not self.broken:
                self.sync()
        finally:
            disk.close(self.fd)
            self.fd = -1

    def _able(self) -> None:
        if self.fd < 0:
            raise JournalFailed(f"{self.name}: it is closed")
        if self.broken:
            raise JournalFailed(self.broken)

    def _put(self, kind: bytes, body: bytes) -> None:
        self._able()
        if len(body) >= LONGEST:
            raise JournalFailed(f"{self.name}: a record of {len(body)} bytes is too long to keep")
        head = HEADER.pack(MAGIC, self.id, self.next, len(body) + 1)
        crc = zlib.crc32(body, zlib.crc32(kind, zlib.crc32(head)))
        record = b"".join((head, CRC.pack(crc), kind, body))
        try:
            disk.write_at(self.fd, self.end, record)
        except OSError as e:
            with contextlib.suppress(OSError):
                disk.cut(self.fd, self.end)
            if e.errno in disk.FULL:
                raise JournalFull(f"{self.name}: the disk is full") from None
            raise JournalFailed(f"{self.name}: cannot be written ({e.strerror})") from None
        self.end += len(record)
        self.next += 1
        self.dirty = True

    def _beside(self, blob: bytes) -> bytes:
        """A large checkpoint into a file of its own, durable before the record that speaks of it."""
        path = _beside(self.path, self.next)
        try:
            disk.remove(path + ".tmp")
            disk.write_new(path + ".tmp", blob, 0o600)
            disk.replace(path + ".tmp", path)
            disk.sync_folder(os.path.dirname(path))
        except OSError as e:
            with contextlib.suppress(OSError):
                disk.remove(path + ".tmp")
            kind = JournalFull if e.errno in disk.FULL else JournalFailed
            size = f"{len(blob) / 1e6:.0f} MB"
            raise kind(
                f"{self.name}: a checkpoint of {size} could not be kept ({e.strerror})"
            ) from None
        return json.dumps({"size": len(blob), "sha256": hashlib.sha256(blob).hexdigest()}).encode()


def recover(path: str | os.PathLike[str]) -> list[Message]:
    """The messages of every whole record, in order; never a wrong one. What newer versions wrote is left out."""
    out: list[Message] = []
    for r in records(disk.read_all(os.fspath(path))):
        body: bytes | None = None
        if r.kind == b"m":
            body = r.body
        elif r.kind == b"f":
            body = _large(os.path.abspath(os.fspath(path)), r)
        if body is not None:
            with contextlib.suppress(Malformed):
                out.append(decode(body))
    return out


def discard(path: str | os.PathLike[str]) -> None:
    """Removes a journal and its checkpoints' files: only once `saver.save` has returned for what it holds."""
    path = os.path.abspath(os.fspath(path))
    folder, name = os.path.split(path)
    disk.remove(path)
    for entry in disk.names(folder):
        if re.fullmatch(re.escape(name) + r"\.\d+\.checkpoint(\.tmp)?", entry):
            disk.remove(os.path.join(folder, entry))
    disk.sync_folder(folder)


def _beside(path: str, number: int) -> str:
    return f"{path}.{number}.checkpoint"


def _large(path: str, record: Record) -> bytes | None:
    try:
        what: dict[str, Any] = json.loads(record.body)
        blob = disk.read_all(_beside(path, record.number))
        whole = len(blob) == what["size"] and hashlib.sha256(blob).hexdigest() == what["sha256"]
    except (OSError, ValueError, LookupError, TypeError):
        return None
    return blob if whole else None


def _taken(fd: int) -> bool:
    """The lock, also if someone who looks for orphans has it for a moment."""
    for _ in range(5):
        if disk.lock(fd):
            return True
        time.sleep(0.02)
    return False


def _me() -> dict[str, Any]:
    return {"host": platform.node(), "pid": os.getpid(), "time": time.time()}


def _holder(path: str) -> str:
    """Who opened a journal last, in words."""
    who: dict[str, Any] = {}
    for r in records(disk.read_all(path)):
        if r.kind == b"h":
            who = json.loads(r.body)
    return f"process {who.get('pid', '?')} on {who.get('host', '?')}"


def is_held(path: str) -> bool:
    """Whether a process writes this journal now."""
    with open(path, "rb") as f:
        return not disk.lock(f.fileno(), shared=True)
