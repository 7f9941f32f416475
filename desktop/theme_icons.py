"""Icons: one family of SVG files, 1.5 px strokes on a 20 px grid, drawn in the palette's colour of the moment.

The files draw in `currentColor` (and cut out in `SURFACE`), which an icon engine replaces when it paints, so an icon handed out once follows
every later change of theme and every state of its button.
"""

from __future__ import annotations

from functools import lru_cache

from PySide6.QtCore import QByteArray, QRect, QRectF, QSize, Qt
from PySide6.QtGui import QIcon, QIconEngine, QImage, QPainter, QPalette, QPixmap
from PySide6.QtSvg import QSvgRenderer
from PySide6.QtWidgets import QApplication

from desktop import resources


@lru_cache(maxsize=128)
def _source(name: str) -> str:
    return resources.path("icons", f"{name}.svg").read_text(encoding="utf-8")


@lru_cache(maxsize=512)
def _renderer(name: str, colour: str, surface: str) -> QSvgRenderer:
    source = _source(name).replace("currentColor", colour).replace("SURFACE", surface)
    return QSvgRenderer(QByteArray(source.encode()))


class _Engine(QIconEngine):
    def __init__(self, name: str, colour: str = "") -> None:
        super().__init__()
        self.name, self.colour = name, colour

    def paint(self, painter: QPainter, rect: QRect, mode: QIcon.Mode, state: QIcon.State) -> None:
        side = min(rect.width(), rect.height())
        box = QRectF(0, 0, side, side)
        box.moveCenter(QRectF(rect).center())
        _renderer(self.name, _ink(mode, self.colour), _surface()).render(painter, box)

    def pixmap(self, size: QSize, mode: QIcon.Mode, state: QIcon.State) -> QPixmap:
        image = QImage(size, QImage.Format.Format_ARGB32_Premultiplied)
        image.fill(Qt.GlobalColor.transparent)
        painter = QPainter(image)
        self.paint(painter, QRect(0, 0, size.width(), size.height()), mode, state)
        painter.end()
        return QPixmap.fromImage(image)

    def clone(self) -> QIconEngine:
        return _Engine(self.name, self.colour)


def _surface() -> str:
    return QApplication.palette().color(QPalette.ColorRole.Base).name()


def _ink(mode: QIcon.Mode, colour: str) -> str:
    p = QApplication.palette()
    if mode == QIcon.Mode.Disabled:
        return p.color(QPalette.ColorGroup.Disabled, QPalette.ColorRole.ButtonText).name()
    if colour and not colour.startswith("#"):
        from desktop import theme  # theme imports this module

        return str(getattr(theme.tokens(), colour))
    return colour or p.color(QPalette.ColorGroup.Active, QPalette.ColorRole.ButtonText).name()


_kept: dict[tuple[str, str], tuple[QIcon, _Engine]] = {}  # Qt holds no reference that Python sees


def icon(name: str, colour: str = "") -> QIcon:
    """The icon of that name, in the palette's text colour, or in a token's ("accent", "on_accent", "muted", …), or
    always in one `#rrggbb`."""
    key = (name, colour)
    if key not in _kept:
        _source(name)  # a missing file fails here, not when painting
        engine = _Engine(name, colour)
        _kept[key] = (QIcon(engine), engine)
    return _kept[key][0]


def names() -> list[str]:
    """Every icon that `icon` can draw."""
    skip = ("arrow-", "tick-")  # files for the style sheet, with fixed colours
    return sorted(
        f.stem for f in resources.path("icons").glob("*.svg") if not f.stem.startswith(skip)
    )
