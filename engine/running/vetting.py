"""Enabled experiments of one's own are loaded once in a process of their own, for their cards. No torch here.

Whatever a file does there (raises, exits, loops, takes the process with it) becomes its problem in one sentence and
touches nothing else; the workers load such a file only when a run, a prediction or a judgement of it is asked for.
"""

from __future__ import annotations

import contextlib
import importlib
import multiprocessing
import os
import re
import signal
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from engine import strangers
from engine.encoding import Malformed, decode
from engine.messages import Card, Catalogue, Hello, Message, Refused, Stranger
from engine.running.watch import GRACE, LOADING, late
from engine.sessions.checks import conforms

STARTING = 120.0  # seconds that a process may take to load torch
CHECKING = 600.0  # seconds that one of an author's checks may take
ANSWER = 16 << 20  # bytes of a card, at most
GONE = (EOFError, OSError, TimeoutError)
UNREADABLE = "what it declares cannot be read"


def _serve(connection: Any, job: str, what: list[str], limit: float, dump: str) -> None:
    """Runs in the spawned process, whose module is named by a string: this one must never load torch."""
    if job == "vet":
        signal.signal(signal.SIGINT, signal.SIG_IGN)
    getattr(importlib.import_module("engine.running.examine"), job)(connection, what, limit, dump)


class _Child:
    """A process that runs strangers' code and answers. Nothing that it says is trusted."""

    def __init__(self, job: str, what: list[str], limit: float) -> None:
        context = multiprocessing.get_context("spawn")
        self.limit = limit
        self.connection, theirs = context.Pipe(duplex=False)
        fd, self.dump = tempfile.mkstemp(prefix="lemmascope-")
        os.close(fd)
        self.process = context.Process(
            target=_serve, args=(theirs, job, what, limit, self.dump), daemon=True,
            name=f"lemmascope {job}",
        )  # fmt: skip
        self.process.start()
        theirs.close()

    def hear(self, seconds: float) -> Message | None:
        """The next message; None if it is none. Raises one of GONE."""
        end = time.monotonic() + seconds
        while not self.connection.poll(0.1):
            if time.monotonic() > end:
                raise TimeoutError
        blob = self.connection.recv_bytes(ANSWER)
        try:
            message = decode(blob)
        except (Malformed, KeyError, TypeError, ValueError):
            return None
        return message if conforms(message, type(message)) else None

    def ended(self, path: str, error: BaseException) -> str:
        """Why it ended while it loaded this file."""
        file, where = os.path.basename(path), ""
        with contextlib.suppress(OSError), open(self.dump, errors="replace") as f:
            found = re.search(rf'File "{re.escape(path)}", line (\d+) in', f.read(1 << 16))
            where = f"{file}, line {found[1]}" if found else ""
        if where or isinstance(error, TimeoutError):
            return late(f"loading {file}", where, self.limit)
        return f"loading {file} ended its process ({self.fate(error)})"

    def fate(self, error: BaseException) -> str:
        if isinstance(error, TimeoutError):
            return "it did not answer"
        self.process.join(5)
        code = self.process.exitcode
        if code is not None and code < 0:
            return f"signal {-code}"
        return f"exit code {code}" if code is not None else "it is gone"

    def close(self) -> None:
        self.process.kill()
        self.process.join(5)
        self.connection.close()
        with contextlib.suppress(OSError):
            os.unlink(self.dump)


class Vetting:
    """Cards and problems of enabled files, by path and hash. `run` blocks: call it in a thread."""

    def __init__(self, limit: float = LOADING) -> None:
        self.limit = limit
        self.known: dict[tuple[str, str], Card | str] = {}
        self._child: _Child | None = None
        self._closed = False
        self._lock = threading.Lock()

    def missing(self, message: Catalogue) -> list[Stranger]:
        return [
            s
            for s in message.strangers
            if s.allowed and not s.problem and (s.path, s.sha256) not in self.known
        ]

    def merged(self, message: Catalogue) -> Catalogue:
        """The catalogue with what is known of the enabled files."""
        cards = [c for c in message.cards if not strangers.is_own(c.name)]
        listed = []
        for s in message.strangers:
            known = self.known.get((s.path, s.sha256)) if s.allowed and not s.problem else None
            if isinstance(known, Card):
                cards.append(known)
            listed.append(replace(s, problem=known) if isinstance(known, str) else s)
        return replace(message, cards=tuple(cards), strangers=tuple(listed))

    def forget(self, path: str = "") -> None:
        """A problem (of one file, or of any) may be gone: what it imports can have been installed meanwhile."""
        with self._lock:
            for key, known in list(self.known.items()):
                if not isinstance(known, Card) and path in ("", key[0]):
                    del self.known[key]

    def close(self) -> None:
        self._closed = True
        if self._child is not None:
            self._child.process.kill()

    def run(self, wanted: Sequence[Stranger]) -> None:
        """Loads each in a process of their own and keeps what came of it."""
        left = list(wanted)
        while left and not self._closed:
            left = left[self._some(left) :]

    def _some(self, wanted: list[Stranger]) -> int:
        """How many were settled before the process ended. It is laid to a file only if that was its first."""
        self._child = child = _Child("vet", [strangers.name_of(s.path) for s in wanted], self.limit)
        if self._closed:
            child.process.kill()
        settled = 0
        try:
            for s in wanted:
                try:
                    child.hear(STARTING)  # it is about to load this one
                except GONE as e:
                    if not settled:
                        why = f"could not be loaded: there is no process for it ({child.fate(e)})"
                        self._keep(s, f"{os.path.basename(s.path)} {why}")
                    return max(1, settled)
                try:
                    self._keep(s, self._answer(s, child.hear(self.limit + 2 * GRACE)))
                except GONE as e:
                    if not settled:
                        self._keep(s, child.ended(s.path, e))
                    return max(1, settled)
                settled += 1
            return settled
        finally:
            self._child = None
            child.close()

    def _keep(self, s: Stranger, answer: Card | str) -> None:
        if not self._closed:
            with self._lock:
                self.known[(s.path, s.sha256)] = answer

    def _answer(self, s: Stranger, message: Message | None) -> Card | str:
        if isinstance(message, Card) and message.name == strangers.name_of(s.path):
            return message
        file = os.path.basename(s.path)
        return (
            message.why if isinstance(message, Refused) and message.why else f"{file}: {UNREADABLE}"
        )


def examined(path: str, sha256: str) -> Iterator[tuple[str, str]]:
    """An author's file put to every check: (what was checked, what is wrong or ""). Runs its code in a child."""
    child = _Child("check", [path, sha256], LOADING)
    title, checked = "", 0
    try:
        while True:
            message = child.hear(CHECKING if title else STARTING)
            match message:
                case Hello():
                    title = message.environment.get("check", "")
                    if not title:
                        return
                case Refused():
                    checked += 1
                    yield title, message.why
                case _:
                    yield title, UNREADABLE
    except GONE as e:
        if checked:
            yield title, f"this ended its process ({child.fate(e)})"
        else:
            yield title or "it can be loaded", child.ended(path, e)
    finally:
        child.close()
