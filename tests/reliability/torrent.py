"""A worker of cardboard behind the real pipe, reader thread, service and store: as many readings as are asked for.

`LEMMASCOPE_TORRENT` is steps a second (each of three metrics, three seeds), or `flood`: as many as the pipe takes.
"""

from __future__ import annotations

import os
import time
from dataclasses import replace
from typing import Any

import numpy as np

from engine.encoding import decode, encode
from engine.messages import (
    Changed,
    Control,
    Describe,
    Ended,
    Hello,
    Job,
    Judge,
    JudgedAll,
    Message,
    Predict,
    Quit,
    Start,
)
from tests.desktop import fake

GATHER = 0.03  # seconds of readings in one message, as a worker gathers them
METRICS = ("sharpness", "loss", "modes")


class Torrent:
    def __init__(self, connection: Any) -> None:
        told = os.environ.get("LEMMASCOPE_TORRENT", "1000")
        self.each = 30 if told == "flood" else max(1, round(float(told) * GATHER))
        self.wait = 0.0 if told == "flood" else GATHER
        self.connection, self.job, self.at = connection, None, 0

    def send(self, message: Message) -> None:
        self.connection.send_bytes(encode(message))

    def run(self) -> None:
        self.send(Hello(0, {}))
        due = time.monotonic()
        while True:
            while self.connection.poll(
                max(0.0, due - time.monotonic()) if self.job is not None else None
            ):
                message = decode(self.connection.recv_bytes())
                if isinstance(message, Quit):
                    return
                self.handle(message)
            if self.job is not None:
                self.pour()
                due = max(due + self.wait, time.monotonic() - self.wait)

    def pour(self) -> None:
        assert self.job is not None
        steps = np.arange(self.at, self.at + self.each)
        for metric in METRICS:
            rows = fake.rows(self.job, metric, steps)
            if (
                metric == METRICS[0]
            ):  # when each was measured, on the clock that all processes share
                age = np.linspace(self.wait, 0.0, self.each, endpoint=False)
                rows = replace(rows, coords=time.monotonic() - age)
            self.send(rows)
        self.at += self.each

    def handle(self, message: Message) -> None:
        match message:
            case Describe():
                self.send(fake.catalogue())
            case Start():
                self.send(fake.started(message.run, message))
            case Job():
                self.job, self.at = message.run, message.step
            case Control(verb="set"):
                self.send(Changed(message.run, self.at, message.knob, message.value))
            case Control(verb="pause" | "cancel"):
                if self.job == message.run:
                    self.job = None
                    state = "paused" if message.verb == "pause" else "cancelled"
                    self.send(Ended(message.run, 0, state, self.at))
            case Predict():
                self.send(fake.predicted(message.run, 2 / float(message.values["lr"])))
            case Judge():
                self.send(JudgedAll(message.run, message.interim))


def serve(connection: Any) -> None:
    """Runs in the spawned process in the place of `engine.running.spawning._serve`."""
    Torrent(connection).run()


def broken(connection: Any) -> None:
    """A true worker whose training throws at its third step."""
    import importlib

    worker = importlib.import_module("engine.running.worker")
    true, calls = worker.Training.advance, []

    def advance(self: Any) -> Any:
        calls.append(1)
        if len(calls) == 3:
            raise ZeroDivisionError("thrown")
        return true(self)

    worker.Training.advance = advance
    worker.main(connection)
