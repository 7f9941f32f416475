"""Drawing without a display, for the command line: the window as a picture, a run's plots as files."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

from desktop import app as application_
from desktop.app import application
from engine.messages import Card, Catalogue, Message


@contextlib.contextmanager
def _quietly() -> Iterator[None]:
    """Qt's offscreen platform complains of window hints that it cannot pass on; all else is printed."""
    from PySide6.QtCore import qInstallMessageHandler

    def heard(_kind: object, _where: object, text: str) -> None:
        if "propagateSizeHints" not in text:
            print(text, file=sys.stderr)

    before = qInstallMessageHandler(heard)
    try:
        yield
    finally:
        qInstallMessageHandler(before)


def picture(path: str | Path, messages: Iterable[Message]) -> None:
    """The window, fed with an engine's messages (a Catalogue, then runs' streams), as a PNG."""
    with _quietly():
        application_.picture(path, messages)


def export(messages: Iterable[Message], card: Card, path: str | Path) -> None:
    """A run's signature plot as png, svg or pdf; as csv the numbers of every plot, one table after another."""
    application()
    from PySide6.QtCore import QSize
    from PySide6.QtWidgets import QApplication

    from desktop import theme
    from desktop.panels.board import Board
    from desktop.plots.export import export as draw
    from desktop.store import Store

    app = QApplication.instance()
    assert isinstance(app, QApplication)
    theme.apply(app, "light")
    store = Store()
    store.apply(Catalogue((card,), ()))
    for m in messages:
        store.apply(m)
    board = Board(store)
    board.resize(QSize(1200, 900))
    run = next((r for r in store.runs.values() if r.experiment == card.name), None)
    if run is None:
        raise ValueError("there is no run to draw")
    store.select(run.id)
    board.show_card(card)
    board.tick()
    metadata = {"experiment": card.name, "run": run.shown_name, "seeds": run.seeds, **run.values}
    target = Path(path)
    for cell in board.cells:
        cell.plot.refresh()
    if target.suffix.lower() == ".csv" and len(board.cells) > 1:
        parts = []
        for i, cell in enumerate(board.cells):
            part = target.with_name(f".{target.stem}.{i}.csv")
            try:
                draw(cell.plot, part, metadata=metadata if i == 0 else None)
                parts.append(part.read_text(encoding="utf-8"))
            finally:
                part.unlink(missing_ok=True)
        target.write_text("\n".join(parts), encoding="utf-8")
    else:
        draw(board.cells[0].plot, target, metadata=metadata)
    board.deleteLater()
