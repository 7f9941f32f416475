"""What panels share: a card with a section heading, numbers as verdicts print them, plain text from files."""

from __future__ import annotations

import math
import unicodedata

from PySide6.QtCore import QRectF, Qt
from PySide6.QtGui import QColor, QPainter, QPaintEvent, QPen, QWheelEvent
from PySide6.QtWidgets import QComboBox, QDockWidget, QHBoxLayout, QLabel, QVBoxLayout, QWidget

from desktop import theme


class Panel(QWidget):
    """What a dock holds; the dock draws the card and the heading. `body` takes the content."""

    def __init__(self, title: str, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.title = title
        self.setAccessibleName(title)
        self.body = QVBoxLayout(self)
        self.body.setContentsMargins(8, 0, 8, 8)
        self.body.setSpacing(6)


class Dock(QDockWidget):
    """A panel on its card: it docks, floats, tabs and closes. The heading is its handle."""

    def __init__(self, panel: Panel, parent: QWidget) -> None:
        super().__init__(panel.title, parent)
        self.setObjectName(f"dock.{panel.title.lower()}")
        self.setAccessibleName(panel.title)
        self.heading = label(panel.title.upper(), "section")
        bar = QWidget()
        row = QHBoxLayout(bar)
        row.setContentsMargins(16, 12, 12, 6)
        row.addWidget(self.heading)
        row.addStretch(1)
        self.setTitleBarWidget(bar)
        self.setWidget(panel)

    def paintEvent(self, event: QPaintEvent) -> None:
        t, p = theme.tokens(), QPainter(self)
        p.setRenderHint(QPainter.RenderHint.Antialiasing)
        p.setPen(QPen(QColor(t.hairline), 1))
        p.setBrush(QColor(t.surface))
        p.drawRoundedRect(QRectF(self.rect()).adjusted(0.5, 0.5, -0.5, -0.5), 6, 6)


def label(text: str = "", role: str = "", wrap: bool = False) -> QLabel:
    """A label of plain text: what comes from a file is never taken for markup."""
    made = QLabel()
    made.setTextFormat(Qt.TextFormat.PlainText)
    made.setText(text)
    made.setWordWrap(wrap)
    if role:
        made.setProperty("role", role)
    return made


class Elided(QLabel):
    """One line that gives way: what does not fit is cut off, and the tooltip has the whole."""

    def __init__(self, text: str = "", role: str = "") -> None:
        super().__init__()
        self.setTextFormat(Qt.TextFormat.PlainText)
        if role:
            self.setProperty("role", role)
        self._whole = ""
        self.setMinimumWidth(40)
        self.setText(text)

    def setText(self, text: str) -> None:
        self._whole = text
        self.setToolTip(text)
        self.setAccessibleName(text)
        self._fit()

    def whole(self) -> str:
        return self._whole

    def resizeEvent(self, event: object) -> None:
        self._fit()

    def _fit(self) -> None:
        room = self.fontMetrics().elidedText(self._whole, Qt.TextElideMode.ElideRight, self.width())
        if room != super().text():
            super().setText(room)


class Combo(QComboBox):
    """Named, its list too; scrolling past does not change its value."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.setAccessibleName(name)
        self.view().setAccessibleName(f"{name}, choices")

    def wheelEvent(self, event: QWheelEvent) -> None:
        event.ignore()


def plain(text: str, most: int = 400) -> str:
    """Text from outside on one line, without control and bidirectional characters."""
    kept = "".join(" " if c in "\n\r\t" else c for c in text[: 4 * most])
    kept = "".join(c for c in kept if unicodedata.category(c) not in ("Cc", "Cf", "Cs", "Co"))
    kept = " ".join(kept.split())
    return kept if len(kept) <= most else kept[: most - 1] + "…"


def figure(value: float, digits: int = 4) -> str:
    """`20.73`, `−0.004`, `1.03×10⁻⁴`."""
    from desktop.plots.axes import format_reading

    return format_reading(value, digits)


def with_spread(value: float, spread: float) -> str:
    """A value in the digits that its spread supports: `1.03 ± 0.02`."""
    if not math.isfinite(value):
        return figure(value)
    if not math.isfinite(spread) or spread <= 0 or spread < 1e-12 * abs(value):
        return figure(value)
    size = max(abs(value), spread)
    if size >= 1e5 or size < 1e-3:
        from desktop.plots.axes import power

        exponent = math.floor(math.log10(size))
        scale = 10.0**exponent
        places = min(8, max(0, -math.floor(math.log10(spread / scale))))
        body = f"({value / scale:.{places}f} ± {spread / scale:.{places}f})×{power(exponent)}"
        return body.replace("-", "−")
    places = min(8, max(0, -math.floor(math.log10(spread))))
    return f"{value:.{places}f} ± {spread:.{places}f}".replace("-", "−")
