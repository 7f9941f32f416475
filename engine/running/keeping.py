"""What a worker does so that nothing it measured is lost: a record is in its journal before it is sent."""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Callable

from engine.encoding import encode
from engine.messages import Changed, Message, Started, Status
from engine.sessions.journal import JournalFailed, JournalFull, Writer
from engine.sessions.state import settle

ROOM = 64 << 20  # bytes that wait in memory for a full disk
AGAIN = 1.0  # seconds between tries
COURSE = (Started, Changed, Status)  # without these what is left would tell of another run


class Keeper:
    """The journal of one job. Where nothing can be kept training goes on, and `tell` is called once with a sentence.

    Not for several threads at once.
    """

    def __init__(self, path: str, tell: Callable[[str], None]) -> None:
        self.tell = tell
        self.waiting: deque[tuple[Message, bytes]] = deque()
        self.size = 0  # bytes in waiting
        self.tried = 0.0
        self.told = False
        self.writer: Writer | None = None
        if path:
            try:
                self.writer = Writer(path)
                settle(os.path.dirname(path))
            except (JournalFailed, OSError) as e:
                self._say(str(e))

    def keep(self, message: Message) -> bytes:
        """The message's bytes, which are in the journal by then, if it can take them."""
        blob = encode(message)
        if self.writer is not None:
            if self.waiting:
                self._wait(message, blob)
                self._catch_up()
            elif why := self._append(message, blob):
                self._say(why)
                self._wait(message, blob)
        return blob

    def tick(self) -> None:
        """To be called now and then: what is new is on the disk a second later."""
        if self.writer is None:
            return
        try:
            if self.waiting:
                self._catch_up()
            self.writer.tick()
        except JournalFailed as e:
            self._lose(str(e))

    def close(self) -> None:
        if self.writer is None:
            return
        try:
            self.tried = 0.0
            self._catch_up()
            self.writer.close()
        except JournalFailed as e:
            self._say(str(e))
        self.writer = None

    def _append(self, message: Message, blob: bytes) -> str:
        """Why it is not in the journal; empty if it is."""
        assert self.writer is not None
        try:
            self.writer.append(message, blob)
        except JournalFull as e:
            return str(e)
        except JournalFailed as e:
            self._lose(str(e))
        return ""

    def _wait(self, message: Message, blob: bytes) -> None:
        self.waiting.append((message, blob))
        self.size += len(blob)
        while self.size > ROOM:
            old = next(
                (i for i, (m, _) in enumerate(self.waiting) if not isinstance(m, COURSE)), -1
            )
            if old < 0:
                return
            self.size -= len(self.waiting[old][1])
            del self.waiting[old]

    def _catch_up(self) -> None:
        if time.monotonic() - self.tried < AGAIN:
            return
        self.tried = time.monotonic()
        while self.waiting and self.writer is not None:
            if self._append(*self.waiting[0]):
                return
            if self.waiting:
                self.size -= len(self.waiting.popleft()[1])
        self.told = False

    def _lose(self, why: str) -> None:
        """A journal that takes nothing any more."""
        writer, self.writer = self.writer, None
        self.waiting.clear()
        self.size = 0
        self._say(why)
        if writer is not None:
            writer.broken = writer.broken or why
            writer.close()

    def _say(self, why: str) -> None:
        if not self.told:
            self.told = True
            self.tell(
                f"{why}. The run goes on, but what it measures is not safe from a crash until it is saved."
            )
