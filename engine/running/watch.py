"""Ends a process in which a user's own code does not come back in time, and first says where that code stands."""

from __future__ import annotations

import contextlib
import faulthandler
import math
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

LOADING = 20.0  # seconds that loading a file may take …
RUNNING = 120.0  # … and that ten steps, a reading or a prediction may
EVERY = 0.1  # seconds between looks
GRACE = 5.0  # seconds after which it ends without a word, if this thread got no turn to speak


def patience() -> float:
    """How long an experiment of one's own may take before a run ends; `LEMMASCOPE_PATIENCE` sets it."""
    try:
        told = float(os.environ.get("LEMMASCOPE_PATIENCE", ""))
    except ValueError:
        return RUNNING
    return told if 0 < told < math.inf else RUNNING


class Watch:
    """`with watch.over(seconds, say):` around a stranger's code; for the main thread.

    `say(where, seconds)` is called from the watching thread; then the process ends. Code that never lets go of the
    interpreter keeps that thread from its turn: a timer outside of Python ends the process all the same, and writes
    where it stood into `dump`.
    """

    def __init__(self, standing: Callable[[Any], str], dump: Any = None) -> None:
        self.standing, self.dump = standing, dump
        self.main = threading.main_thread().ident
        self.until = math.inf
        self.seconds = 0.0
        self.say: Callable[[str, float], None] = lambda where, seconds: None
        self.thread: threading.Thread | None = None
        self.lock = threading.Lock()

    @contextlib.contextmanager
    def over(self, seconds: float, say: Callable[[str, float], None]) -> Iterator[None]:
        self.say, self.seconds = say, seconds
        self.until = time.monotonic() + seconds
        if self.thread is None:
            self.thread = threading.Thread(target=self._look, daemon=True, name="patience")
            self.thread.start()
        try:
            yield
        finally:
            with self.lock:  # while the other thread speaks its last words, nothing else is said
                self.until = math.inf

    def _look(self) -> None:
        armed = False
        while True:
            left = self.until - time.monotonic()
            if left <= 0:
                with self.lock:
                    if self.until <= time.monotonic():
                        self._end()
            if math.isfinite(left):
                faulthandler.dump_traceback_later(
                    max(0.0, left) + GRACE, exit=True, file=self.dump or sys.__stderr__ or 2
                )
                armed = True
            elif armed:
                faulthandler.cancel_dump_traceback_later()
                armed = False
            time.sleep(EVERY)

    def _end(self) -> None:
        where = self.standing(sys._current_frames().get(self.main or 0))
        with contextlib.suppress(Exception):
            self.say(where, self.seconds)
        os._exit(71)


def late(what: str, where: str, seconds: float) -> str:
    """The sentence for code that did not come back."""
    place = f" ({where})" if where else ""
    return f"{what}{place} had not come back after {seconds:g} s"
