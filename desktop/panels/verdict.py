"""What a run's claims came to: holds, fails, undecided; with numbers, the reason and the assumptions."""

from __future__ import annotations

import math

from PySide6.QtCore import QSize, Qt
from PySide6.QtWidgets import (
    QFrame,
    QHBoxLayout,
    QLabel,
    QScrollArea,
    QSizePolicy,
    QVBoxLayout,
    QWidget,
)

from desktop import theme
from desktop.panels.common import Elided, figure, label, plain, with_spread
from desktop.runs import Run
from engine.messages import Card, ClaimCard, Judged

MARKS = {
    "holds": ("holds", "good"),
    "fails": ("fails", "bad"),
    "undecided": ("undecided", "caution"),
}
RELATION = {"==": "expected", "<=": "at most", ">=": "at least"}
ROWS = 3  # claims seen at once


def sentence(judged: Judged) -> str:
    """`19.96 ± 0.03, expected 20 (0.998 ×)`."""
    spread = judged.spread if judged.side == "==" else math.nan  # a bound's spread is a range
    parts = []
    if math.isfinite(judged.measured):
        parts.append(with_spread(judged.measured, spread))
    if math.isfinite(judged.expected):
        text = f"{RELATION.get(judged.side, 'expected')} {figure(judged.expected)}"
        if math.isfinite(judged.measured) and judged.expected:
            text += f" ({judged.measured / judged.expected:.3f} ×)"
        parts.append(text)
    return ", ".join(parts)


class Row(QWidget):
    """One claim: mark, word, what it says, numbers; below the reason or the assumptions."""

    def __init__(self, claim: ClaimCard) -> None:
        super().__init__()
        self.claim = claim
        self.mark = QLabel()
        self.word = label(role="heading")
        self.text = Elided(plain(claim.text))
        self.numbers = label()
        self.numbers.setFont(theme.font(13, 600))
        self.numbers.setSizePolicy(QSizePolicy.Policy.Maximum, QSizePolicy.Policy.Preferred)
        self.below = Elided("", "caption")
        top = QHBoxLayout()
        top.setSpacing(8)
        top.addWidget(self.mark)
        top.addWidget(self.word)
        top.addWidget(self.text, 1)
        top.addWidget(self.numbers)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(1)
        column.addLayout(top)
        column.addWidget(self.below)
        self.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self.judged: Judged | None = None
        self._live = False
        self.show_judged(None, False)

    def show_judged(self, judged: Judged | None, live: bool) -> None:
        self.judged, self._live = judged, live
        outcome = judged.outcome if judged else "undecided"
        icon, ink = MARKS.get(outcome, MARKS["undecided"])
        colour = ink if judged else "muted"
        self.mark.setPixmap(theme.icon(icon, colour).pixmap(QSize(18, 18)))
        word = outcome.capitalize() if judged else "Not judged yet"
        if judged and judged.interim:
            word += " so far"
        self.word.setText(word)
        self.word.setStyleSheet(f"color: {getattr(theme.tokens(), colour)};")
        self.numbers.setText(sentence(judged) if judged else "")
        broken = judged.broken if judged else ()
        if broken:
            below = "   ".join(f"✕ {plain(b)}" for b in broken)
            held = [a for a in self.claim.assumptions if a not in broken]
            below = (
                "Outside its assumptions:  " + below + "   ".join(["", *(f"✓ {a}" for a in held)])
            )
        elif judged and judged.why:
            below = plain(judged.why)
        else:
            tick = "✓ " if judged else ""
            below = "   ".join(f"{tick}{a}" for a in self.claim.assumptions)
        self.below.setText(below)
        self.below.setVisible(bool(below))
        said = ", ".join(filter(None, [word, self.claim.text, self.numbers.text(), below]))
        self.setAccessibleName(said)
        self.setToolTip(said)


class VerdictStrip(QFrame):
    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setProperty("card", True)
        self.setAccessibleName("Verdict")
        self.rows: dict[str, Row] = {}
        self._list = QWidget()
        self._column = QVBoxLayout(self._list)
        self._column.setContentsMargins(0, 0, 0, 0)
        self._column.setSpacing(6)
        self.scroller = QScrollArea()
        self.scroller.setWidgetResizable(True)
        self.scroller.setFrameShape(QFrame.Shape.NoFrame)
        self.scroller.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.scroller.setWidget(self._list)
        self.scroller.setAccessibleName("Claims")
        self.scroller.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self.scroller.viewport().setAutoFillBackground(False)
        self._list.setAutoFillBackground(False)
        outer = QVBoxLayout(self)
        outer.setContentsMargins(16, 8, 12, 8)
        outer.addWidget(self.scroller)
        theme.changed.connect(self._again)

    def show_card(self, card: Card | None) -> None:
        for row in self.rows.values():
            self._column.removeWidget(row)
            row.hide()
            row.deleteLater()
        self.rows = {c.key: Row(c) for c in card.claims} if card else {}
        for row in self.rows.values():
            self._column.addWidget(row)
        self.setVisible(bool(self.rows))
        self._fit()

    def show_run(self, run: Run | None) -> None:
        for key, row in self.rows.items():
            row.show_judged(run.judged.get(key) if run else None, run is not None)
        said = [r.accessibleName() for r in self.rows.values()]
        self.setAccessibleDescription("; ".join(said))
        self._fit()

    def _again(self) -> None:
        for row in self.rows.values():
            row.numbers.setFont(theme.font(13, 600))
            row.show_judged(row.judged, row._live)

    def _fit(self) -> None:
        """As high as its claims, up to three of them."""
        heights = [row.sizeHint().height() for row in self.rows.values()]
        shown = heights[:ROWS]
        self.setFixedHeight(sum(shown) + 6 * max(0, len(shown) - 1) + 18)
