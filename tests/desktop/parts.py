"""Windows on a cardboard engine, for tests."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from PySide6.QtWidgets import QApplication

from desktop import theme
from desktop.settings import Settings
from desktop.store import Store
from desktop.window import Window
from tests.desktop.fake import FakeLink


def make_window(
    qtbot: Any,
    tmp_path: Path,
    answer: bool = True,
    catalogue: bool = True,
    size: tuple[int, int] = (1440, 900),
) -> Window:
    """A window with the catalogue of `fake`, its first result started. `window.link` is the cardboard engine."""
    app = QApplication.instance()
    assert isinstance(app, QApplication)
    if theme.mode() != "light" or theme.scale() != 1.0 or not app.styleSheet():
        theme.apply(app, "light")  # costs 0.3 s with other windows about
    store, link = Store(), FakeLink(answer)
    window = Window(store, link, Settings(tmp_path / "config"))
    link.received.connect(store.apply)
    window.link = link  # type: ignore[attr-defined]
    qtbot.addWidget(window, before_close_func=lambda w: w.store.set_modified(False))
    window.resize(*size)
    window.show()
    if catalogue:
        window.lab.describe()
    settle(window)
    return window


def settle(window: Window) -> None:
    """Layouts done, plots fed."""
    window.explain.set_all()
    for _ in range(3):
        QApplication.processEvents()
        window.tick()
