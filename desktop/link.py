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
        self._early: list[Message] = []

    async def start(self) -> None:
        from engine.running.service import Service  # after the first paint

        service = Service(self.received.emit, self._workers)
        await service.start()
        self._service = service
        early, self._early = self._early, []
        for message in early:
            service.send(message)

    def send(self, message: Message) -> None:
        if self._service is None:
            self._early.append(message)
        else:
            self._service.send(message)

    async def close(self) -> None:
        if self._service is not None:
            service, self._service = self._service, None
            await service.close()

    @property
    def workers(self) -> int:
        return len(self._service.workers) if self._service else 0
