"""The service's workers: how many there are, who is free, who still answers, who takes a dead one's place. No torch."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable, Coroutine
from typing import Any

from engine.messages import Message
from engine.running.pool import Worker

LOOK = 0.25  # seconds between looks at the workers' beats
LATE = 1.0  # seconds by which a look may be late, if this process does not stand still
SILENT = 1.5  # seconds without one after which that is said …
DEAD = 10.0  # … and after which the process is ended
LOADING = 120.0  # … while it is still loading
DEATHS = (
    5  # of workers that did not end on purpose, after which something is wrong with all of them
)


class Crew:
    """`heard(worker, message)`, `lost(worker, why)` and `silent(worker, seconds)` are called on the loop's thread."""

    def __init__(
        self,
        size: int,
        spawn: Callable[[Coroutine[Any, Any, None]], object],
        heard: Callable[[Worker, Message], None],
        lost: Callable[[Worker, str], None],
        silent: Callable[[Worker, float], None],
    ) -> None:
        self.size = size or max(2, min(8, (os.cpu_count() or 2)))
        self.spawn, self.heard, self.lost, self.silent = spawn, heard, lost, silent
        self.all: list[Worker] = []
        self.waiting: list[Message] = []  # requests before the first worker is warm
        self.deaths = 0
        self.closing = False
        self.looked = 0.0
        self.loop: asyncio.AbstractEventLoop

    async def start(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.looked = time.monotonic()
        self._look()
        await self.grow()

    async def close(self) -> None:
        self.closing = True
        await asyncio.gather(*(w.close() for w in self.all))

    async def grow(self) -> None:
        if self.closing:
            return
        worker = Worker(self.loop, self.heard, self._gone)
        self.all.append(worker)
        try:
            await worker.start()
        except OSError as e:
            self._gone(worker, f"it could not be started: {e.strerror or e}")

    def grow_for(self, wanted: bool) -> None:
        """Another worker, if there is work for it; and a second one in any case: it answers while the first trains."""
        growing = any(not w.warm for w in self.all)
        room = len(self.all) < self.size and not self.closing
        if (wanted or len(self.all) == 1) and room and not growing:
            self.spawn(self.grow())

    def warm(self, worker: Worker) -> None:
        """It may be asked now; the first one is asked what has waited."""
        if worker.over:
            return
        worker.warm = True
        early, self.waiting = self.waiting, []
        for m in early:
            worker.ask(m)

    def idle(self) -> list[Worker]:
        return [w for w in self.all if w.warm and w.job is None]

    def of(self, run: str) -> list[Worker]:
        """Those that train a run."""
        return [w for w in self.all if w.job and w.job[0] == run]

    def jobs(self) -> set[tuple[str, int]]:
        """(run, first) of each stack in training."""
        return {w.job for w in self.all if w.job}

    def ask(self, message: Message) -> None:
        """To a worker with nothing to train if there is one, else to one that answers between its steps."""
        warm = [w for w in self.all if w.warm]
        if warm:
            (self.idle() or warm)[-1].ask(message)
        else:
            self.waiting.append(message)

    def _look(self) -> None:
        """Whether they are alive: a process that is stopped, or whose code does not let go, beats no more."""
        if self.closing:
            return
        now = time.monotonic()
        late, self.looked = now - self.looked - LOOK, now
        for w in list(self.all):
            if late > LATE:
                w.forgive(late)
            silence, limit = w.silence(), DEAD if w.warm else LOADING
            if silence > limit and not w.over:
                w.kill(f"it did not answer for {limit:g} s and was ended")
            elif silence > SILENT and not w.silent and w.warm:
                self.silent(w, silence)
            w.silent = silence > SILENT and w.warm
        self.loop.call_later(LOOK, self._look)

    def _gone(self, worker: Worker, why: str) -> None:
        if worker in self.all:
            self.all.remove(worker)
        if self.closing:
            return
        self.deaths += not worker.excused
        self.lost(worker, why)
        if self.deaths <= DEATHS:
            self.spawn(self.grow())

    @property
    def hopeless(self) -> bool:
        return self.deaths > DEATHS
