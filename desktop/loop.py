"""The event loop (qasync) and where every error goes: one log file and one notice. Nothing else imports qasync."""

from __future__ import annotations

import asyncio
import faulthandler
import logging
import logging.handlers
import os
import sys
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Any

import platformdirs
from PySide6.QtCore import (
    QMessageLogContext,
    QObject,
    Qt,
    QTimer,
    QtMsgType,
    Signal,
    qInstallMessageHandler,
)
from PySide6.QtWidgets import QApplication

from desktop.repeats import Repeats

log = logging.getLogger("lemmascope")
_tasks: set[asyncio.Task[Any]] = set()
_fault_file: Any = None
_ending = False
LEAVE = (
    1.2  # seconds that the engine has to close; two in all is the promise, on a busy machine too
)
TURN = 0.001  # seconds that another thread may hold the interpreter while the window waits for it
QUIET = "Qt: "  # what Qt says goes to the log alone


class Notices(QObject):
    """Carries what went wrong, from any thread, to the window; what comes again is told in sums."""

    raised = Signal(str, int)  # a sentence, and how often it is true
    _again = Signal()

    def __init__(self) -> None:
        super().__init__()
        self.repeats = Repeats()
        self._called = False  # one wake-up under way is enough
        self._again.connect(self._plan, Qt.ConnectionType.QueuedConnection)

    def take(self, key: tuple[object, ...], text: str, tell: Callable[[], None]) -> None:
        """Calls `tell` if this is new; else counts it."""
        if self.repeats.first(key, text):
            tell()
        elif not self._called:
            self._called = True
            self._again.emit()

    def _plan(self) -> None:
        self._called = False
        due = self.repeats.due()
        if due is not None:
            self._called = True
            QTimer.singleShot(round(1000 * due) + 1, self, self._sum)

    def _sum(self) -> None:
        for text, again in self.repeats.sums():
            log.warning("the same again, %d times: %s", again, text)
            if not text.startswith(QUIET):
                self.raised.emit(text, again)
        self._plan()


_notices: Notices | None = None


def notices() -> Notices:
    global _notices
    if _notices is None:
        _notices = Notices()
    return _notices


def log_folder() -> Path:
    """Where the log lies; `LEMMASCOPE_STATE` moves it, for tests."""
    told = os.environ.get("LEMMASCOPE_STATE")
    return Path(told) if told else Path(platformdirs.user_log_dir("lemmascope", appauthor=False))


def log_file() -> Path:
    return log_folder() / "lemmascope.log"


def spawn_task(work: Coroutine[Any, Any, Any], name: str = "") -> asyncio.Task[Any]:
    """A task that is kept until it ends and whose exception is reported at once, not when it is collected."""
    task = asyncio.get_running_loop().create_task(work, name=name or None)
    _tasks.add(task)
    task.add_done_callback(_ended)
    return task


def _ended(task: asyncio.Task[Any]) -> None:
    _tasks.discard(task)
    if not task.cancelled() and (e := task.exception()) is not None:
        report(type(e), e, e.__traceback__, f"task {task.get_name()}")


def report(
    kind: type[BaseException], error: BaseException, trace: TracebackType | None, where: str
) -> None:
    """One entry in the log, one notice in the window; for an error that comes again, a count of both."""
    if issubclass(kind, KeyboardInterrupt):
        QApplication.quit()
        return
    try:
        first = (str(error).strip().splitlines() or [""])[0][:200]
    except Exception:
        first = "it cannot say what"
    text = f"Something unforeseen happened ({kind.__name__}: {first}). The log has the details."

    def tell() -> None:
        log.error("unforeseen, in %s", where, exc_info=(kind, error, trace))
        notices().raised.emit(text, 1)

    notices().take((kind, _place(trace)), text, tell)


def _place(trace: TracebackType | None) -> tuple[str, int] | None:
    """Where it was raised: the same fault may say something else each time."""
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return (trace.tb_frame.f_code.co_filename, trace.tb_lineno) if trace else None


def install(to_stderr: bool = True) -> None:
    """Every way that an error can take ends in `report`."""
    _open_log(to_stderr)
    notices()  # made here, in the window's thread
    sys.excepthook = lambda k, e, t: report(k, e, t, "the window")
    threading.excepthook = lambda a: (
        report(a.exc_type, a.exc_value, a.exc_traceback, f"thread {a.thread and a.thread.name}")
        if a.exc_value is not None
        else None
    )
    sys.unraisablehook = lambda a: (
        report(a.exc_type, a.exc_value, a.exc_traceback, f"{a.err_msg or 'clearing up'}")
        if a.exc_value is not None
        else None
    )
    qInstallMessageHandler(_qt_said)


def _open_log(to_stderr: bool) -> None:
    global _fault_file
    if log.handlers:
        return
    log.setLevel(logging.INFO)
    log.propagate = False
    form = logging.Formatter("%(asctime)s %(levelname)s %(message)s")
    try:
        log_folder().mkdir(parents=True, exist_ok=True)
        file = logging.handlers.RotatingFileHandler(
            log_file(), maxBytes=1 << 20, backupCount=2, encoding="utf-8", delay=True
        )
        file.setFormatter(form)
        log.addHandler(file)
        # a crash inside C++ leaves its trace here
        _fault_file = open(log_folder() / "crash.txt", "a", encoding="utf-8")  # noqa: SIM115
        faulthandler.enable(_fault_file)
    except OSError as e:  # a read-only home is no reason not to start
        print(f"lemmascope: no log can be written: {e}", file=sys.stderr)
    if to_stderr and sys.stderr is not None:
        screen = logging.StreamHandler()
        screen.setLevel(logging.WARNING)
        screen.setFormatter(form)
        log.addHandler(screen)


def _qt_said(kind: QtMsgType, context: QMessageLogContext, text: str) -> None:
    if "propagateSizeHints" in text:
        return  # the offscreen platform cannot, and says so of every window
    level = {
        QtMsgType.QtDebugMsg: logging.DEBUG,
        QtMsgType.QtInfoMsg: logging.INFO,
        QtMsgType.QtWarningMsg: logging.WARNING,
    }.get(kind, logging.ERROR)
    notices().take((QUIET, text), QUIET + text, lambda: log.log(level, "Qt: %s", text))


def _loop_said(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    error = context.get("exception")
    if error is None:
        log.error("loop: %s", context.get("message"))
    else:
        report(type(error), error, error.__traceback__, "the event loop")


def run(app: QApplication, begin: Callable[[], None]) -> int:
    """Runs the application on one loop for Qt and asyncio until `finish` is called. `begin` is called on the loop."""
    os.environ.setdefault("QT_API", "pyside6")
    import qasync

    # every call into Qt lets go of the interpreter: a reader that decodes would take Python's 5 ms each time
    sys.setswitchinterval(TURN)
    app.setQuitOnLastWindowClosed(False)  # the loop must outlive the window to close the engine
    loop = qasync.QEventLoop(app)
    asyncio.set_event_loop(loop)
    loop.set_default_executor(ThreadPoolExecutor(max_workers=8, thread_name_prefix="lemmascope"))
    loop.set_exception_handler(_loop_said)
    try:
        loop.call_soon(begin)
        loop.run_forever()
        for task in list(_tasks):
            task.cancel()
    finally:
        qInstallMessageHandler(None)
        asyncio.set_event_loop(None)
        loop.close()
    return 0


def finish(
    shutdown: Callable[[], Coroutine[Any, Any, Any]], kill: Callable[[], None] = lambda: None
) -> None:
    """Ends the application: `shutdown` first, `kill` if that takes longer than `LEAVE` seconds, then the loop."""
    global _ending
    if _ending:
        return
    _ending = True
    loop = asyncio.get_event_loop()

    async def end() -> None:
        try:
            await asyncio.wait_for(shutdown(), timeout=LEAVE)
        except TimeoutError:
            log.warning("the engine did not close in %.1f s and was ended", LEAVE)
            kill()
        finally:
            loop.stop()

    spawn_task(end(), "shutdown")


def on_signal(act: Callable[[], None]) -> None:
    """Ctrl-C and SIGTERM close the window properly, where the loop can listen for them."""
    import signal

    loop = asyncio.get_event_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        try:
            loop.add_signal_handler(number, act)
        except (NotImplementedError, RuntimeError, ValueError):
            signal.signal(number, lambda *_: act())


QUEUED = Qt.ConnectionType.QueuedConnection
