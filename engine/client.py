"""The service as a headless caller uses it: start a run, wait for it, take what it gave."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable
from typing import Any

from engine import strangers
from engine.messages import (
    Catalogue,
    Control,
    Describe,
    Message,
    Open,
    Opened,
    Refused,
    Save,
    Saved,
    Start,
    Started,
    Status,
)
from engine.running.runs import ENDED, Run
from engine.running.service import Service


class Failed(Exception):
    """The engine said no; the text is one sentence for a person."""


class Client:
    """`async with Client() as engine:`; one waiter for each thing that is awaited.

    Left properly, what was not saved is gone; left by a crash, it is offered at the next start, if it is to `keep`.
    """

    def __init__(self, workers: int | None = None, keep: bool = True) -> None:
        self.service = Service(self._heard, workers, keep)
        self.catalogue: Catalogue | None = None
        self.listeners: list[Callable[[Message], None]] = []
        self._waiting: list[tuple[Callable[[Message], bool], asyncio.Future[Any]]] = []

    async def __aenter__(self) -> Client:
        await self.service.start()
        # Until users' own experiments are in it: a second or two, and only where there are any.
        whole = lambda m: isinstance(m, Catalogue) and strangers.settled(m)
        self.catalogue = await self.ask(Describe(), whole)
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.service.close()

    def _heard(self, message: Message) -> None:
        for listener in list(self.listeners):
            listener(message)
        if self.service.broken:  # no answer will come
            for _, future in self._waiting:
                if not future.done():
                    future.set_exception(Failed(self.service.broken))
            self._waiting.clear()
        for entry in list(self._waiting):
            matches, future = entry
            if not future.done() and matches(message):
                future.set_result(message)
                self._waiting.remove(entry)

    async def wait(self, matches: Callable[[Message], bool]) -> Any:
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._waiting.append((matches, future))
        return await future

    async def ask(self, message: Message, matches: Callable[[Message], bool]) -> Any:
        waiting = asyncio.ensure_future(self.wait(matches))
        await asyncio.sleep(0)
        self.service.send(message)
        return await waiting

    async def begin(self, **start: Any) -> Run:
        """Starts a run. Raises Failed with the engine's sentence if it is refused."""
        name = start.pop("run", "") or uuid.uuid4().hex[:12]
        answer = await self.ask(
            Start(run=name, **start),
            lambda m: isinstance(m, (Started, Refused)) and m.run == name,
        )
        if isinstance(answer, Refused):
            raise Failed(answer.why)
        return self.service.runs[name]

    async def finish(self, run: Run) -> Status:
        """Waits until the run has ended (or paused) and its claims are judged."""
        if run.status is not None and run.status.state in ENDED:
            return run.status
        return await self.wait(  # type: ignore[no-any-return]
            lambda m: isinstance(m, Status) and m.run == run.id and m.state in (*ENDED, "paused")
        )

    async def control(self, run: Run, verb: Any, **more: Any) -> None:
        self.service.send(Control(run.id, verb, **more))

    async def save(self, path: str, runs: list[Run], notes: str = "") -> None:
        answer = await self.ask(
            Save(path, tuple(r.id for r in runs), notes),
            lambda m: isinstance(m, Saved) and m.path == path,
        )
        if answer.why:
            raise Failed(answer.why)

    async def open(self, path: str) -> list[Run]:
        answer = await self.ask(Open(path), lambda m: isinstance(m, Opened) and m.path == path)
        if answer.why and not answer.runs:
            raise Failed(answer.why)
        return [self.service.runs[r] for r in answer.runs]
