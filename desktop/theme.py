"""The look: palette, fonts, icons and run colours, light and dark, regenerated whenever the theme changes.

theme.apply(app, "system")        palette, style sheet, fonts
theme.tokens()                    the colours now; never keep one beyond `theme.changed`
theme.changed.connect(repaint)    no arguments
theme.run_colour(3), theme.icon("play"), theme.font(13, 600)
"""

from __future__ import annotations

import os
import sys
from dataclasses import replace
from functools import lru_cache
from typing import Literal

from PySide6.QtCore import QObject, Qt, Signal
from PySide6.QtGui import QColor, QFont, QFontDatabase, QGuiApplication
from PySide6.QtWidgets import QApplication

from desktop import resources, theme_style
from desktop.theme_icons import icon
from desktop.theme_tokens import DARK, LIGHT, Tokens
from desktop.theme_vision import contrast, mix, shade

Mode = Literal["light", "dark", "system"]
__all__ = [
    "apply", "changed", "font", "icon", "mode", "mono", "reduced_motion", "run_colour", "run_ink", "run_style",
    "scale", "set_reduced_motion", "tokens",
]  # fmt: skip

SANS = ("Inter", "Noto Sans Math")  # Inter lacks ∇, 𝔼, ⟨⟩, ∝
MONO = ("IBM Plex Mono", "Inter", "Noto Sans Math")  # Plex Mono lacks Greek
_STYLES = (
    Qt.PenStyle.SolidLine,
    Qt.PenStyle.DashDotLine,
    Qt.PenStyle.DashDotDotLine,
)  # dashes alone mean theory, dots alone theory outside its assumptions


class _Bus(QObject):
    changed = Signal()


_bus = _Bus()
changed = _bus.changed  # emitted after every change of theme, without arguments
_tokens = LIGHT
_mode: Mode = "light"
_scale = 1.0
_watched: QObject | None = None
_still: bool | None = None


def tokens() -> Tokens:
    return _tokens


def mode() -> Mode:
    """What was asked for; `tokens().name` is what it came to."""
    return _mode


def apply(app: QApplication, mode: Mode = "system", scale: float = 1.0) -> None:
    """Draw everything in this theme. `scale` enlarges type, for a projector. Call it before making widgets: those
    made earlier keep the system's font until the next call."""
    global _mode, _scale, _watched
    _load_fonts()
    _mode, _scale = mode, scale
    hints = QGuiApplication.styleHints()
    wanted = {"light": Qt.ColorScheme.Light, "dark": Qt.ColorScheme.Dark}.get(mode)
    if wanted is None:
        hints.unsetColorScheme()
    else:
        hints.setColorScheme(wanted)  # window frames and native dialogs follow
    if _watched is not app:
        _watched = app
        hints.colorSchemeChanged.connect(_system_changed)
    if app.style().objectName() != "fusion":
        app.setStyle("Fusion")
    _draw(app)


def _system_changed(_: object = None) -> None:
    app = QApplication.instance()
    if _mode == "system" and isinstance(app, QApplication):
        _draw(app)


def _draw(app: QApplication) -> None:
    global _tokens
    dark = _mode == "dark" or (
        _mode == "system" and QGuiApplication.styleHints().colorScheme() == Qt.ColorScheme.Dark
    )
    base = DARK if dark else LIGHT
    sizes = {k: round(_scale * getattr(base, k)) for k in ("captions", "body", "heading", "title")}
    _tokens = replace(base, **sizes)
    app.setPalette(theme_style.palette(_tokens))
    app.setStyleSheet(theme_style.sheet(_tokens))
    app.setFont(
        font()
    )  # after the style sheet, or widgets made before the first theme keep their font
    changed.emit()


@lru_cache(maxsize=1)
def _load_fonts() -> tuple[int, ...]:
    files = sorted(resources.path("fonts").glob("*.ttf"))
    loaded = tuple(QFontDatabase.addApplicationFont(str(f)) for f in files)
    for file, number in zip(files, loaded, strict=True):
        if number < 0:
            raise RuntimeError(f"the font {file.name} cannot be read")
    return loaded


def font(size: int | None = None, weight: int = 400) -> QFont:
    """The sans face with tabular figures. Sizes are pixels before `scale`: 11, 13, 15, 20."""
    return _face(SANS, round(_scale * (size or 13)), weight)


def mono(size: int | None = None) -> QFont:
    return _face(MONO, round(_scale * (size or 13)), 400)


@lru_cache(maxsize=64)
def _face(families: tuple[str, ...], size: int, weight: int) -> QFont:
    face = QFont()
    face.setFamilies(list(families))
    face.setPixelSize(size)
    face.setWeight(QFont.Weight(weight))
    face.setFeature(QFont.Tag("tnum"), 1)
    return face


def scale() -> float:
    return _scale


def run_colour(index: int, part: float = 0.0, t: Tokens | None = None) -> QColor:
    """Colour of the index-th run. `part` in [0, 1] fades it for one of several curves of a run, to no less than
    a contrast of 3."""
    t = t or _tokens
    colour = t.runs[index % len(t.runs)]
    return QColor(_shaded(colour, t.surface, round(part, 3)) if part else colour)


@lru_cache(maxsize=512)
def _shaded(colour: str, surface: str, part: float) -> str:
    return shade(colour, surface, part)


def run_ink(index: int, t: Tokens | None = None) -> QColor:
    """The run's colour for text: moved towards the text colour until it reads (4.5 : 1)."""
    t = t or _tokens
    return QColor(_inked(t.runs[index % len(t.runs)], t.surface, t.text))


@lru_cache(maxsize=64)
def _inked(colour: str, surface: str, text: str) -> str:
    for k in range(21):
        mixed = mix(colour, text, k / 20)
        if contrast(mixed, surface) >= 4.5:
            return mixed
    return text


def run_style(index: int) -> Qt.PenStyle:
    """Line style of the index-th run: another one after every eight."""
    return _STYLES[index // len(_tokens.runs) % len(_STYLES)]


def set_reduced_motion(on: bool | None) -> None:
    """True or false as the settings say; None: as the system says."""
    global _still
    _still = on


def reduced_motion() -> bool:
    """Whether nothing may move that need not. Qt 6.11 reports the system's wish on Windows only."""
    if _still is not None:
        return _still
    if said := os.environ.get("LEMMASCOPE_REDUCED_MOTION"):
        return said not in ("0", "false", "no")
    return sys.platform == "win32" and not QApplication.isEffectEnabled(Qt.UIEffect.UI_AnimateMenu)
