"""A helper process under limits: what it says is bytes, its death is an exit code, and it can be ended at any time.

It is spawned, never forked, and loads neither torch nor Qt. This module imports the standard library only, so
that limits and environment are set before numpy or HDF5 are there.
"""

from __future__ import annotations

import contextlib
import importlib
import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Iterator
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess
from typing import Any

NO_MEMORY = 77  # exit code


class Gone(Exception):
    """The process ended or was ended before it had said all; the text ends a sentence."""


def enter(connection: Connection, job: str, argument: str, memory: int, seconds: int) -> None:
    """Runs in the spawned process: `job` is "module:function", called with the connection and `argument`."""
    signal.signal(
        signal.SIGINT, signal.SIG_IGN
    )  # Ctrl-C reaches the whole group; the parent decides
    with open(os.devnull, "w") as nowhere:
        os.dup2(nowhere.fileno(), 1)
        os.dup2(nowhere.fileno(), 2)
    os.environ["HDF5_PLUGIN_PRELOAD"] = "::"  # no filter plugins
    for name in ("HDF5_PLUGIN_PATH", "HDF5_VOL_CONNECTOR", "HDF5_DRIVER", "HDF5_DRIVER_CONFIG"):
        os.environ.pop(name, None)
    for name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[name] = "1"  # each thread would claim address space
    if memory:
        confine(memory, seconds)
    module, _, function = job.partition(":")
    try:
        getattr(importlib.import_module(module), function)(connection, argument)
    except MemoryError:
        os._exit(NO_MEMORY)
    connection.close()


def confine(memory: int, seconds: int) -> None:
    """Bytes of memory, seconds of processor time, no file may grow, few may be open, no core is dumped.

    Where there is no `resource` (Windows) only the parent's clock limits the process.
    """
    if sys.platform == "win32":
        return
    import resource

    for what, wanted in (
        (resource.RLIMIT_AS, memory),
        (resource.RLIMIT_CPU, seconds),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_NOFILE, 64),
        (resource.RLIMIT_CORE, 0),
    ):
        hard = resource.getrlimit(what)[1]
        limit = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        with contextlib.suppress(ValueError, OSError):  # macOS refuses some of them
            # past the soft limit of time comes SIGXCPU, which says what happened; past the hard one SIGKILL
            resource.setrlimit(what, (limit, limit + 1 if what == resource.RLIMIT_CPU else limit))


class _Process(SpawnProcess):
    """A spawned process that a daemonic one (a worker) may start too: it is ended by its starter in any case."""

    def start(self) -> None:
        config: dict[str, Any] = multiprocessing.current_process()._config  # type: ignore[attr-defined]
        was = config.pop("daemon", None)
        try:
            super().start()
        finally:
            if was is not None:
                config["daemon"] = was


class Child:
    """`with Child("module:function", argument, timeout) as child:` then `send` and `frames`.

    However the block is left, the process has ended then.
    """

    def __init__(
        self, job: str, argument: str, timeout: float, memory: int = 0, seconds: int = 0
    ) -> None:
        self.timeout, self.seconds = timeout, seconds
        self.late = False
        context = multiprocessing.get_context("spawn")
        self.connection, self._theirs = context.Pipe(duplex=True)
        self._process = _Process(
            target=enter,
            args=(self._theirs, job, argument, memory, seconds),
            daemon=True,
            name=f"lemmascope {job}",
        )
        self._clock = threading.Timer(timeout, self._over)
        self._clock.daemon = True

    def __enter__(self) -> Child:
        try:
            self._process.start()
        except BaseException:
            self.connection.close()
            raise
        finally:
            self._theirs.close()
        self._clock.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._clock.cancel()
        self._process.kill()
        self._process.join()
        self.connection.close()
        self._process.close()

    def _over(self) -> None:
        self.late = True
        with contextlib.suppress(ValueError, OSError):
            self._process.kill()

    def send(self, blob: bytes) -> bool:
        """False if the process listens no more: what it answered, or why it is gone, is for `frames` to say."""
        try:
            self.connection.send_bytes(blob)
        except OSError:
            return False
        return True

    def frames(self, most: int) -> Iterator[bytes]:
        """What the process says, until an empty frame; Gone if it ends before, or says more than `most` bytes."""
        said = 0
        while True:
            try:
                frame = self.connection.recv_bytes(most - said + 1)
            except (EOFError, OSError) as e:
                if "message length" in str(e):
                    raise Gone("said more than it may") from None
                raise self.gone() from None
            said += len(frame)
            if said > most:
                raise Gone("said more than it may")
            if not frame:
                return
            yield frame

    def gone(self) -> Gone:
        """Why the process is no longer there."""
        self._process.join(5)
        code = self._process.exitcode
        if self.late:
            return Gone(f"took longer than {self.timeout:g} s")
        if sys.platform != "win32" and code == -signal.SIGXCPU:
            return Gone(f"took more than {self.seconds} s of processor time")
        if code == NO_MEMORY:
            return Gone("needed more memory than it may take")
        if code is None:
            return Gone("fell silent")
        return Gone(f"was ended by signal {-code}" if code < 0 else f"ended with exit code {code}")
