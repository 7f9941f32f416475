"""The way to the engine. The only module of the desktop that knows how the service is reached."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from PySide6.QtCore import QObject, Signal

from engine.messages import Message, Rows
from engine.running import spawning

if TYPE_CHECKING:
    from engine.running.service import Service


class Link(QObject):
    """`send` never blocks; what is sent before the service stands is sent when it does."""

    received = Signal(object)  # a message of the engine

    def __init__(self, parent: QObject | None = None, workers: int | None = None) -> None:
        super().__init__(parent)
        self._workers = workers
        self._service: Service | None = None
        self._ready = self._closing = False
        self._early: list[Message] = []
        self._rows: dict[tuple[Any, ...], list[Rows]] = {}  # heard in this turn of the loop

    async def start(self) -> None:
        from engine.running.service import Service  # after the first paint

        if self._closing:
            return
        self._service = Service(self._heard, self._workers)
        await self._service.start()
        self._ready = True
        early, self._early = self._early, []
        for message in early:
            self._service.send(message)

    def send(self, message: Message) -> None:
        if self._service is None or not self._ready:
            self._early.append(message)
        elif not self._closing:
            self._service.send(message)

    def _heard(self, message: Message) -> None:
        """Readings of one metric that come in one turn of the loop become one message: a flood of small ones costs
        the window more than what they hold. Nothing overtakes anything else of the engine."""
        if not isinstance(message, Rows):
            self._flush()
            self.received.emit(message)
            return
        if not self._rows:
            asyncio.get_running_loop().call_soon(self._flush)
        shape, kind = message.values.shape[1:], message.values.dtype
        key = (message.run, message.metric, message.first, shape, kind)
        self._rows.setdefault(key, []).append(message)

    def _flush(self) -> None:
        heard, self._rows = self._rows, {}
        for parts in heard.values():
            self.received.emit(parts[0] if len(parts) == 1 else joined(parts))

    async def close(self, discard: bool) -> None:
        """Ends the engine. `discard`: nothing that is not saved is wanted any more; else it is offered next time."""
        self._closing = True
        if self._service is not None:
            await self._service.close(discard)
        spawning.drop()  # the service may not have come to take it

    def kill(self, discard: bool) -> None:
        """Ends what `close` could not end in time."""
        if self._service is not None:
            for worker in list(self._service.crew.all):
                worker.kill()
            self._service.files.close(discard)
        spawning.drop()

    @property
    def workers(self) -> int:
        return len(self._service.crew.all) if self._service else 0


def joined(parts: list[Rows]) -> Rows:
    """Readings in the order in which they came."""
    coords = next((p.coords for p in reversed(parts) if p.coords is not None), None)
    steps, values = (np.concatenate([getattr(p, n) for p in parts]) for n in ("steps", "values"))
    return replace(parts[-1], steps=steps, values=values, coords=coords)


def own_folder() -> str:
    """Where users' own experiments lie."""
    from engine import strangers

    return str(strangers.folder())
