"""Opens a session that may come from anyone: it is read in a process with limits, and messages come back as bytes.

A hostile file can at most end that process. Then, as for every other fault, there is one BadSession with one sentence.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from multiprocessing.connection import Connection
from typing import Any

from engine.encoding import Malformed, decode, encode
from engine.messages import Card, Catalogue, Message, Started
from engine.sessions.checks import conforms, fault
from engine.sessions.child import Child, Gone
from engine.sessions.session import BadSession, Limits, Session, read

MEMORY = 1536 << 20  # bytes of address space of the reading process
SECONDS = 10  # of wall clock and of processor time, and for large files …
LARGE = 1 << 20  # bytes of readings that are not copied out of what was read
PACE = 4_000_000  # … a second more for each so many bytes: a sweep of many stacks reads at 15 MB/s


def load(path: str | os.PathLike[str], timeout: float = 0) -> Session:
    """The session in a file. Raises BadSession, in one sentence, for whatever is wrong with it.

    `timeout` 0: ten seconds, and more for a large file.
    """
    name = "".join(c if c.isprintable() else "?" for c in os.path.basename(os.fspath(path)))
    where = os.path.abspath(os.fspath(path))
    seconds = SECONDS + int(min(_size(where), Limits().file) / PACE)
    try:
        with Child(
            "engine.sessions.loader:serve", where, timeout or seconds, MEMORY, seconds
        ) as child:
            # header and names add to the arrays, never more than the file itself is large
            return _session(child.frames(2 * Limits().file), name)
    except Gone as e:
        raise BadSession(f"{name}: damaged, the process that read it {e}") from None
    except (ValueError, TypeError, LookupError, StopIteration) as e:
        if isinstance(e, BadSession):
            raise
        raise BadSession(f"{name}: damaged, what was read from it makes no sense") from None


def _size(path: str) -> int:
    try:
        return os.stat(path).st_size
    except OSError:
        return 0


def _session(frames: Iterator[bytes], name: str) -> Session:
    head = json.loads(next(frames))
    if "bad" in head:
        raise BadSession(str(head["bad"]))
    cards: dict[str, Card] = {}
    for card in head["cards"]:
        cards[str(card)] = _card(decode(next(frames)))
    runs: list[list[Message]] = []
    for blob in frames:
        message = decode(blob, LARGE)
        if what := fault(message):
            raise BadSession(f"{name}: {type(message).__name__} {what}")
        if isinstance(message, Started):
            runs.append([])
        runs[-1].append(message)
    texts = {k: str(head[k]) for k in ("notes", "layout", "lemmascope", "notice")}
    major, minor = head["version"]
    return Session(runs, cards=cards, version=(int(major), int(minor)), **texts)


def _card(message: Any) -> Card:
    if not isinstance(message, Catalogue) or not conforms(message.cards, tuple[Card, ...]):
        raise Malformed("no card")
    (card,) = message.cards
    return card


def serve(connection: Connection, path: str) -> None:
    """Runs in the reading process: a header, cards and messages as frames, then an empty one."""
    try:
        session = read(path)
    except BadSession as e:
        connection.send_bytes(json.dumps({"bad": str(e)}).encode())
        return
    head = {k: getattr(session, k) for k in ("notes", "layout", "lemmascope", "notice", "version")}
    connection.send_bytes(json.dumps(head | {"cards": list(session.cards)}).encode())
    for card in session.cards.values():
        connection.send_bytes(encode(Catalogue((card,), ())))
    for run in session.runs:
        for message in run:
            connection.send_bytes(encode(message))
    connection.send_bytes(b"")
