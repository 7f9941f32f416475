"""Worker processes as the service sees them: spawned, one reader and one writer thread each. No torch here."""

from __future__ import annotations

import asyncio
import contextlib
import queue
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Any

from engine.encoding import Malformed, decode, encode
from engine.messages import (
    Catalogue,
    Describe,
    Job,
    Judge,
    JudgedAll,
    Message,
    Quit,
    Refused,
    Start,
    Started,
)
from engine.running import spawning

HELD = 100  # messages read and not yet handled, above which the reader waits: the pipe then slows the worker
SLICE = 0.008  # seconds of messages in one turn of the loop: a window has to paint in between
LEAVE = 0.8  # seconds that a worker has to end by itself
ANSWERS: dict[type, tuple[type, ...]] = {
    Describe: (Catalogue,),
    Start: (Started, Refused),
    Judge: (JudgedAll,),
}


class Worker:
    """A handle. `on_message(worker, message)` and `on_end(worker, why)` are called on the loop's thread."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        on_message: Callable[[Worker, Message], None],
        on_end: Callable[[Worker, str], None],
    ) -> None:
        self.loop, self.on_message, self.on_end = loop, on_message, on_end
        self.warm = self.silent = False
        self.excused = False  # it ends because it was to
        self.stopped = False  # … because a person stopped what it trains
        self.over = False  # it is gone, or about to be: nothing more is asked of it
        self.unanswered: list[Message] = []  # of what `ask` sent
        self.job: tuple[str, int] | None = None  # (run, first) in training here
        self.pid = 0
        self._process: Any = None
        self._reader: Any = None
        self._connection: Any = None
        self._out: queue.SimpleQueue[bytes | Message | None] = queue.SimpleQueue()
        self._in: deque[Message] = deque()
        self._woken = False
        self._room = threading.Condition()
        self._closing = False
        self._beats: Any = None
        self._beaten = time.monotonic()
        self._killed = ""  # why
        self._starting = threading.Lock()

    async def start(self) -> None:
        await self.loop.run_in_executor(None, self._spawn)

    def _spawn(self) -> None:
        with self._starting:
            if not self._closing:
                self._begin()

    def _begin(self) -> None:
        self._process, self._connection, self._beats = spawning.take()
        self.pid, self._beaten = self._process.pid or 0, time.monotonic()
        self._reader, writer = (
            threading.Thread(target=t, daemon=True, name=f"worker {self.pid} {t.__name__}")
            for t in (self._read, self._write)
        )
        self._reader.start()
        writer.start()

    def send(self, message: Message) -> None:
        large = isinstance(message, (Job, Judge))  # a window has to paint while they become bytes
        self._out.put(message if large else encode(message))

    def ask(self, message: Message) -> None:
        """Sends what has an answer; until that is there it is `unanswered`."""
        if type(message) in ANSWERS:
            self.unanswered.append(message)
        self.send(message)

    def _answered(self, message: Message) -> None:
        for m in self.unanswered:
            kinds, run = ANSWERS[type(m)], getattr(m, "run", "")
            if isinstance(message, kinds) and run == getattr(message, "run", ""):
                self.unanswered.remove(m)
                return

    def _write(self) -> None:
        with contextlib.suppress(OSError, ValueError):
            while (each := self._out.get()) is not None:
                self._connection.send_bytes(each if isinstance(each, bytes) else encode(each))

    def _read(self) -> None:
        why = ""
        try:
            while True:
                message = decode(self._connection.recv_bytes())
                with self._room:
                    self._room.wait_for(lambda: len(self._in) < HELD or self._closing)
                    self._in.append(message)
                    wake, self._woken = not self._woken, True
                if wake:
                    self._soon(self._drain)
        except (EOFError, OSError):
            pass
        except Malformed as e:
            why = f"it sent what is no message ({e})"
            self._process.kill()
        self._process.join(5)
        if self._process.exitcode is None:
            why = why or "it did not come to its end"
            self._process.kill()
            self._process.join(2)
        code = self._process.exitcode
        if self._killed:
            why = self._killed
        elif not why and code:
            why = (
                f"it was ended by signal {-code}" if code < 0 else f"it ended with exit code {code}"
            )
            if code == -9:
                why += ", as the system does when memory runs out"
        self._out.put(None)
        self._soon(self._finish, why)

    def _soon(self, act: Callable[..., None], *words: str) -> None:
        """On the loop, unless it has closed: Qt's would take the process down if it were spoken to then."""
        if not self.loop.is_closed():
            with contextlib.suppress(RuntimeError):
                self.loop.call_soon_threadsafe(act, *words)

    def _drain(self, whole: bool = False) -> None:
        end = time.monotonic() + SLICE
        while True:
            with self._room:
                batch = [self._in.popleft() for _ in range(min(len(self._in), 16))]
                self._woken = bool(batch)
                self._room.notify()
            for message in batch:
                if self.unanswered:
                    self._answered(message)
                self.on_message(self, message)
            if not batch:
                return
            if not whole and time.monotonic() > end:
                self.loop.call_soon(self._drain)
                return

    def _finish(self, why: str) -> None:
        self.over, self.warm = True, False  # no work for it, whatever its last words are
        self._drain(whole=True)
        self.on_end(self, "" if self._closing else why or "it ended without a word")

    def silence(self) -> float:
        """Seconds since its last sign of life. What came while nobody looked counts as of now."""
        if self._beats is None:
            return 0.0
        with contextlib.suppress(OSError, EOFError):
            while self._beats.poll(0):
                self._beats.recv_bytes()
                self._beaten = time.monotonic()
        return time.monotonic() - self._beaten

    def forgive(self, seconds: float) -> None:
        """For which this process stood still itself, and perhaps the whole machine."""
        self._beaten += seconds

    def kill(self, why: str = "") -> None:
        self.over, self.warm = True, False
        self._killed = self._killed or why
        with contextlib.suppress(Exception):
            self._process.kill()

    async def close(self) -> None:
        """Asks it to quit, and ends it if it does not; at once if it is still loading."""
        self._closing = True
        with self._room:
            self._room.notify()
        self.send(Quit())
        await self.loop.run_in_executor(None, self._join)

    def _join(self) -> None:
        with self._starting:  # a process is ended, not half of one
            if self._process is None:
                return
        self._process.join(LEAVE if self.warm else 0)
        if self._process.is_alive():
            self._process.kill()
            self._process.join(2)
        self._out.put(None)
        self._beats.close()
        self._reader.join(2)  # it has said its last word before the loop closes
