"""What every plot is: measured traces and theory for several runs, painted when asked."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from PySide6.QtCore import Signal
from PySide6.QtWidgets import QWidget

Array = np.ndarray[Any, Any]
Role = Literal["live", "selected", "ghost", "pinned"]


@dataclass
class Measured:
    x: Array  # (T,)
    values: Array  # (T, members, k)
    colour_index: int
    label: str
    role: Role
    parts: tuple[str, ...] = ()
    seeds: int = 0
    members_shown: bool = False


@dataclass
class Theory:
    x: Array
    values: Array  # (T, k) or (T, members, k)
    label: str
    valid: bool
    reason: str
    kind: Literal["curve", "exponent"] = "curve"
    exponent: float = math.nan


class PlotView(QWidget):
    crosshair_moved = Signal(float)
    menu_requested = Signal()

    def __init__(
        self,
        *,
        title: str,
        x_label: str,
        y_label: str,
        x_scale: str = "linear",
        y_scale: str = "linear",
        parent: QWidget | None = None,
    ) -> None:
        super().__init__(parent)
        self.setAccessibleName(title)

    def set_measured(self, run: str, m: Measured) -> None: ...
    def set_theory(self, run: str, name: str, t: Theory) -> None: ...
    def set_events(self, run: str, events: list[tuple[float, str]]) -> None: ...
    def remove(self, run: str) -> None: ...
    def clear(self) -> None: ...
    def refresh(self) -> None: ...
    def set_scale(self, x: str | None = None, y: str | None = None) -> None: ...
    def follow(self, on: bool) -> None: ...
    def set_crosshair(self, x: float | None) -> None: ...

    def table(self) -> tuple[list[str], list[list[Any]]]:
        return [], []

    def summary(self) -> str:
        return ""


def make_plot(kind: str, **kw: Any) -> PlotView:
    """The plot for a kind of metric: scalar, modes, profile, spectrum, matrix, sweep."""
    return PlotView(**kw)
