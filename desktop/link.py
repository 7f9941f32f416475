"""The way to the engine. The only module of the desktop that knows how the service is reached."""

from __future__ import annotations

from typing import TYPE_CHECKING

from PySide6.QtCore import QObject, Signal

from engine.messages import Message

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

    async def start(self) -> None:
        from engine.running.service import Service  # after the first paint

        if self._closing:
            return
        self._service = Service(self.received.emit, self._workers)
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

    async def close(self, discard: bool) -> None:
        """Ends the engine. `discard`: nothing that is not saved is wanted any more; else it is offered next time."""
        self._closing = True
        if self._service is not None:
            await self._service.close(discard)

    def kill(self) -> None:
        """Ends what `close` could not end in time."""
        for worker in list(self._service.crew.all) if self._service else ():
            worker.kill()

    @property
    def workers(self) -> int:
        return len(self._service.crew.all) if self._service else 0


def own_folder() -> str:
    """Where users' own experiments lie."""
    from engine import strangers

    return str(strangers.folder())
