"""Rendered formulae: TeX to SVG by ziamath, drawn as vectors in the text's colour.

ziamath takes 140 ms to import and 5 to 20 ms a formula, so it is imported at the first formula and what it gives is kept.
Its default output uses <symbol> and <use>, of which Qt draws only the fraction bars; `svg2 = False` gives paths.
"""

from __future__ import annotations

import warnings
from functools import lru_cache

from PySide6.QtCore import QByteArray, QRectF, QSize, Qt
from PySide6.QtGui import QColor, QFontMetrics, QImage, QPainter, QPaintEvent
from PySide6.QtSvg import QSvgRenderer
from PySide6.QtWidgets import QSizePolicy, QWidget

from desktop import theme

_INK = "#010203"  # stands for the colour in what is kept
LEAST_SCALE = 0.6  # a formula wider than its place shrinks to this, and is cut off beyond


class FormulaError(ValueError):
    """TeX that cannot be rendered."""


@lru_cache(maxsize=512)
def _svg(tex: str, size: int) -> str:
    with warnings.catch_warnings():
        # ziamath 0.13 opens its fonts by importlib.resources.path, deprecated in Python 3.11
        warnings.simplefilter("ignore", DeprecationWarning)
        from ziamath.config import config
        from ziamath.zmath import Latex
    config.svg2 = False
    try:
        return str(Latex(tex, size=size, color=_INK).svg())
    except Exception as e:  # its parser raises what it pleases on bad TeX
        raise FormulaError(f"{tex}: {type(e).__name__} {e}".strip()) from e


@lru_cache(maxsize=512)
def renderer(tex: str, size: int, colour: str) -> QSvgRenderer:
    """The formula at so many pixels an em, in that colour. Raises FormulaError."""
    drawn = QSvgRenderer(QByteArray(_svg(tex, size).replace(_INK, colour).encode()))
    if not drawn.isValid():
        raise FormulaError(f"{tex}: not drawn")
    return drawn


def image(tex: str, size: int, colour: str, ratio: float = 1.0) -> QImage:
    """The formula as an image for a text document. Raises FormulaError."""
    drawn = renderer(tex, size, colour)
    natural = drawn.viewBoxF().size()
    pixels = QSize(max(1, round(natural.width() * ratio)), max(1, round(natural.height() * ratio)))
    picture = QImage(pixels, QImage.Format.Format_ARGB32_Premultiplied)
    picture.fill(Qt.GlobalColor.transparent)
    painter = QPainter(picture)
    drawn.render(painter)
    painter.end()
    picture.setDevicePixelRatio(ratio)
    return picture


class FormulaLabel(QWidget):
    """One formula. TeX that cannot be rendered is shown as it is, in the mono face."""

    def __init__(
        self, tex: str, size: int = 15, parent: QWidget | None = None, *, text: str = ""
    ) -> None:
        """`text` is read aloud instead of the TeX."""
        super().__init__(parent)
        self._tex, self._size, self._text = "", size, text
        self.failed = False
        self.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Fixed)
        theme.changed.connect(self._restyle)
        self.set_tex(tex, text)

    def tex(self) -> str:
        return self._tex

    def set_tex(self, tex: str, text: str = "") -> None:
        self._tex, self._text = tex, text
        self.setAccessibleName(text or tex)
        try:
            self._drawn()
            self.failed = False
            self.setToolTip("")
        except FormulaError as e:
            self.failed = True
            self.setToolTip(f"This formula cannot be rendered. {e}")
        self._restyle()

    def _drawn(self) -> QSvgRenderer:
        size = round(self._size * theme.scale())
        return renderer(self._tex, size, theme.tokens().text)

    def _restyle(self) -> None:
        self.updateGeometry()
        self.update()

    def sizeHint(self) -> QSize:
        if self.failed:
            metrics = QFontMetrics(theme.mono(12))
            return QSize(metrics.horizontalAdvance(self._tex) + 4, metrics.height() + 4)
        natural = self._drawn().viewBoxF().size()
        return QSize(round(natural.width() + 1), round(natural.height() + 1))

    def minimumSizeHint(self) -> QSize:
        hint = self.sizeHint()
        return QSize(min(hint.width(), 40), hint.height())

    def paintEvent(self, event: QPaintEvent) -> None:
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        if self.failed:
            painter.setFont(theme.mono(12))
            painter.setPen(QColor(theme.tokens().text))
            painter.drawText(
                self.rect(), Qt.AlignmentFlag.AlignVCenter | Qt.AlignmentFlag.AlignLeft, self._tex
            )
            return
        drawn = self._drawn()
        natural = drawn.viewBoxF().size()
        shrink = max(LEAST_SCALE, min(1.0, self.width() / natural.width()))
        width, height = shrink * natural.width(), shrink * natural.height()
        drawn.render(painter, QRectF(0, (self.height() - height) / 2, width, height))
