"""The application: `main(files)` opens the window, `picture` draws one without a display."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from engine.messages import Message, Started
from engine.version import VERSION


def has_display() -> bool:
    """Whether Qt will find where to draw. Its own answer on Linux is to abort."""
    if os.environ.get("QT_QPA_PLATFORM") or not sys.platform.startswith("linux"):
        return True
    return bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))


def application() -> Any:
    """The one QApplication, named; offscreen where there is no display."""
    if not has_display():
        os.environ["QT_QPA_PLATFORM"] = "offscreen"
    from PySide6.QtWidgets import QApplication

    app = QApplication.instance()
    if not isinstance(app, QApplication):
        app = QApplication([sys.argv[0] if sys.argv else "lemmascope"])
    app.setApplicationName("lemmascope")
    app.setApplicationDisplayName("Lemmascope")
    app.setApplicationVersion(VERSION)
    app.setDesktopFileName("lemmascope")
    return app


def main(files: Sequence[str] = ()) -> int:
    if not has_display():
        print(
            "lemmascope: no display: neither DISPLAY nor WAYLAND_DISPLAY is set, so there is no place for a window. "
            "`lemmascope run NAME` trains without one; `lemmascope first-run` also draws a picture.",
            file=sys.stderr,
        )
        return 2
    missing = [f for f in files if not os.path.isfile(f)]
    if missing:
        print(f"lemmascope: there is no file {missing[0]}", file=sys.stderr)
        return 2
    from engine.running import spawning

    spawning.ahead()  # a worker loads torch while this process loads Qt, which `link` would do first
    app = application()
    from desktop import loop, theme
    from desktop.link import Link
    from desktop.settings import Settings
    from desktop.store import Store
    from desktop.window import Window

    loop.install()
    settings = Settings()
    mode = settings.text("theme", "system")
    theme.apply(app, mode if mode in ("light", "dark", "system") else "system")  # type: ignore[arg-type]
    store, link = Store(), Link()
    window = Window(store, link, settings)
    link.received.connect(store.apply)
    loop.notices().raised.connect(lambda text, n: window.notice.say("error", text, n), loop.QUEUED)
    window.closed.connect(
        lambda: loop.finish(lambda: link.close(window.discard), lambda: link.kill(window.discard))
    )

    def begin() -> None:
        loop.on_signal(window.leave_at_once)
        loop.spawn_task(link.start(), "engine")
        window.lab.describe()
        loop.spawn_task(_warm_formulae(), "formulae")
        for path in files:
            window.files.open_path(path)

    window.show()
    return loop.run(app, begin)


async def _warm_formulae() -> None:
    """Importing the formula renderer takes 150 ms: in a thread, while the engine warms up."""
    import asyncio
    import importlib
    import warnings

    def load() -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            importlib.import_module("ziamath.zmath")

    await asyncio.get_running_loop().run_in_executor(None, load)


class _Nowhere:
    """An engine that is not there: what is sent is forgotten."""

    def send(self, message: Message) -> None:
        pass


def picture(
    path: str | Path,
    messages: Iterable[Message] | None,
    size: tuple[int, int] = (1440, 900),
    mode: str = "light",
    scale: float = 1.0,
) -> None:
    """The window, fed with an engine's messages (a Catalogue, then runs' streams), drawn into a PNG."""
    app = application()
    from PySide6.QtCore import QCoreApplication, QEvent, QPoint, QSize, Qt
    from PySide6.QtGui import QImage, QPainter

    from desktop import theme

    theme.apply(app, mode)  # type: ignore[arg-type]
    window = still_window(messages or ())
    window.setAttribute(Qt.WidgetAttribute.WA_DontShowOnScreen)
    window.resize(QSize(*size))
    window.show()
    window.explain.set_all()
    for _ in range(6):  # layouts settle, plots are fed, labels find their places
        app.processEvents()
        window.tick()
    image = QImage(
        round(size[0] * scale), round(size[1] * scale), QImage.Format.Format_ARGB32_Premultiplied
    )
    image.setDevicePixelRatio(scale)
    image.fill(window.palette().window().color())
    painter = QPainter(image)
    window.render(painter, QPoint())
    painter.end()
    window.leave()
    window.deleteLater()
    QCoreApplication.sendPostedEvents(None, QEvent.Type.DeferredDelete)
    if not image.save(str(path)):
        raise OSError(f"{path} cannot be written")


def still_window(messages: Iterable[Message]) -> Any:
    """A window without an engine. What the messages tell of is shown, nothing is started, nothing remembered."""
    import tempfile

    from desktop.settings import Settings
    from desktop.store import Store
    from desktop.window import Window

    store = Store()
    window = Window(store, _Nowhere(), Settings(Path(tempfile.mkdtemp(prefix="lemmascope-"))))
    window.lab.auto_start = False
    runs: list[str] = []
    for m in messages:
        store.apply(m)
        if isinstance(m, Started):
            runs.append(m.run)
    for run in (store.runs[r] for r in runs if r in store.runs):
        store.select(run.id)
    if not runs and store.cards:
        window.lab.open(next(iter(store.cards)))
    return window
