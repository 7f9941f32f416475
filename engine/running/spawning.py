"""A worker's process: spawned, never forked. One can be started before there is anyone to ask it anything.

No torch and no numpy, for that is the first thing that the application does.
"""

from __future__ import annotations

import contextlib
import importlib
import multiprocessing
import signal
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

BEAT = 0.25  # seconds


class Spawned(NamedTuple):
    process: Any
    connection: Any  # both ways
    beats: Any  # a byte every BEAT seconds


_ahead: list[Spawned] = []


def ahead() -> None:
    """Starts a process that the next `take` is given: it loads torch while its parent loads a window."""
    with contextlib.suppress(OSError):  # whoever takes one will try, and say so
        _ahead.append(_spawn())


def take() -> Spawned:
    """The process that was started ahead, or another. Raises OSError."""
    with contextlib.suppress(IndexError):  # asking first could be answered to two threads
        return _ahead.pop()
    return _spawn()


def drop() -> None:
    """Ends what was started ahead and is not wanted any more."""
    while _ahead:
        process, connection, beats = _ahead.pop()
        process.kill()
        process.join(2)
        connection.close()
        beats.close()


def _spawn() -> Spawned:
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe(duplex=True)
    heard, beats = context.Pipe(duplex=False)
    process = context.Process(
        target=_enter, args=(_serve, theirs, beats), daemon=True, name="lemmascope worker"
    )
    with _shielded():
        process.start()
    theirs.close()
    beats.close()
    return Spawned(process, ours, heard)


def _enter(serve: Callable[[Any], None], connection: Any, beats: Any) -> None:
    """Runs in the spawned process: `serve`, and a thread that says that the process lives, whatever `serve` does."""

    def beat() -> None:
        with contextlib.suppress(OSError):
            while True:
                beats.send_bytes(b".")
                time.sleep(BEAT)

    threading.Thread(target=beat, daemon=True, name="beat").start()
    serve(connection)


def _serve(connection: Any) -> None:
    """Runs in the spawned process. The worker is named by a string: this process must never load torch.

    Ctrl-C reaches the whole group; what happens then is the service's to say.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    importlib.import_module("engine.running.worker").main(connection)


@contextlib.contextmanager
def _shielded() -> Iterator[None]:
    """A child started inside is born deaf to Ctrl-C, so that it cannot die of it while it imports."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
