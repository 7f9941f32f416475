"""The page of the open experiment: formulae with the numbers of the moment, what it says, presets, references."""

from __future__ import annotations

import html
import re

from markdown_it import MarkdownIt
from PySide6.QtCore import QEvent, QObject, Qt, QTimer, QUrl, Signal
from PySide6.QtGui import QDesktopServices
from PySide6.QtWidgets import QFrame, QScrollArea, QTextBrowser, QVBoxLayout, QWidget

from desktop import theme
from desktop.lab import Lab
from desktop.naming import number
from desktop.panels.common import Panel, label, plain
from desktop.panels.gallery import spelt
from desktop.store import Store
from desktop.widgets.formula import FormulaLabel
from engine.messages import Card, FormulaCard

_MARKDOWN = MarkdownIt("commonmark", {"html": False, "linkify": False}).disable(["image"])
ARXIV = re.compile(r"(?:[a-z-]+/\d{7}|\d{4}\.\d{4,5})(?:v\d+)?")


def page_html(card: Card) -> str:
    """The docstring's page, its presets and references. Only links made here lead anywhere."""
    first, _, rest = card.page.partition("\n")
    body = _MARKDOWN.render(rest.strip())
    body = re.sub(r"<a [^>]*>|</a>", "", body)  # a page's own links are words
    parts = [f"<p class='head'>{html.escape(first)}</p>", body]
    if card.presets:
        parts.append("<p class='head'>Try</p>")
        parts += [
            f'<p><a href="preset:{i}">{html.escape(spelt(p.name))}</a>. {html.escape(p.text)}</p>'
            for i, p in enumerate(card.presets)
        ]
    if conventions := dict.fromkeys(p.convention for p in card.predictions if p.convention):
        parts.append("<p class='head'>Convention</p>")
        parts += [f"<p>{html.escape(c)}</p>" for c in conventions]
    if card.references:
        parts.append("<p class='head'>References</p>")
        for r in card.references:
            link = ""
            if ARXIV.fullmatch(r.arxiv):
                link = f' · <a href="https://arxiv.org/abs/{r.arxiv}">arXiv:{r.arxiv}</a>'
            parts.append(f"<p>{html.escape(r.title)}{link}</p>")
    return "\n".join(parts)


class _Page(QTextBrowser):
    """As high as its text; loads nothing, opens nothing by itself."""

    def __init__(self) -> None:
        super().__init__()
        self.setOpenLinks(False)
        self.setFrameShape(QFrame.Shape.NoFrame)
        self.setVerticalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.viewport().setAutoFillBackground(False)
        self.document().setDocumentMargin(0)
        self.document().documentLayout().documentSizeChanged.connect(lambda _: self._grow())

    def loadResource(self, kind: int, name: QUrl | str) -> object:
        return None

    def _grow(self) -> None:
        height = int(self.document().size().height()) + 4
        if height != self.height():
            self.setFixedHeight(height)


class Explain(Panel):
    preset_chosen = Signal(str)
    symbols_hovered = Signal(object)  # set of knobs

    def __init__(self, lab: Lab, parent: QWidget | None = None) -> None:
        super().__init__("Explain", parent)
        self.lab = lab
        self.card: Card | None = None
        self._formulae: list[tuple[FormulaLabel, set[str]]] = []
        self._pending: list[FormulaCard] = []
        self._next = QTimer(self)
        self._next.setInterval(30)  # frames in between
        self._next.timeout.connect(self._set_one)
        self.numbers = label(role="caption", wrap=True)
        self.page = _Page()
        self.page.setAccessibleName("Explanation")
        self.page.anchorClicked.connect(self._clicked)
        inside = QWidget()
        self._column = QVBoxLayout(inside)
        self._column.setContentsMargins(8, 0, 8, 8)
        self._column.setSpacing(6)
        self._head = QVBoxLayout()
        self._head.setSpacing(4)
        self._column.addLayout(self._head)
        self._column.addWidget(self.numbers)
        self._column.addWidget(self.page)
        self._column.addStretch(1)
        self.scroller = QScrollArea()
        self.scroller.setWidgetResizable(True)
        self.scroller.setFrameShape(QFrame.Shape.NoFrame)
        self.scroller.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.scroller.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self.scroller.setAccessibleName("Explanation")
        self.scroller.setWidget(inside)
        self.scroller.viewport().setAutoFillBackground(False)
        inside.setAutoFillBackground(False)  # setWidget turns it on
        self.body.addWidget(self.scroller, 1)
        lab.values_changed.connect(self.show_numbers)
        lab.store.draft_changed.connect(self.show_numbers)
        lab.store.run_changed.connect(self._run_changed)
        theme.changed.connect(self._style)

    def show_card(self, card: Card | None) -> None:
        self.card = card
        while (item := self._head.takeAt(0)) is not None:
            if (widget := item.widget()) is not None:
                widget.hide()
                widget.deleteLater()
        self._formulae = []
        self._pending = list(card.formulae) if card else []
        self._next.start()
        self._style()
        self.scroller.verticalScrollBar().setValue(0)
        self.show_numbers()

    def _set_one(self) -> None:
        """The next formula. Setting one takes up to 90 ms: one at a time, so that the window goes on moving."""
        if not self._pending:
            self._next.stop()
            return
        f = self._pending.pop(0)
        drawn = FormulaLabel(f.tex, 18, text=f.text)
        drawn.installEventFilter(self)
        self._formulae.append((drawn, set(f.symbols.values())))
        self._head.addWidget(drawn)
        self._head.addWidget(label(f.text, "caption", wrap=True))

    def set_all(self) -> None:
        """Every formula at once, for a still picture."""
        while self._pending:
            self._set_one()

    def _style(self) -> None:
        t = theme.tokens()
        self.page.document().setDefaultFont(theme.font(13))
        self.page.document().setDefaultStyleSheet(
            f"a {{ color: {t.accent}; text-decoration: none; }} p {{ margin: 0 0 8px 0; }} "
            f".head {{ font-weight: 600; }} "
            f"li {{ margin: 0 0 4px 0; }} ul {{ margin: 0 0 8px 0; }}"
        )
        self.page.setHtml(page_html(self.card) if self.card else "")

    # --- numbers of the moment ---

    def _run_changed(self, run: str, what: str) -> None:
        if what == "theory" and run == self.lab.store.current:
            self.show_numbers()

    def show_numbers(self) -> None:
        text = live_numbers(self.card, self.lab, self.lab.store) if self.card else ""
        self.numbers.setText(text)
        self.numbers.setVisible(bool(text))

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        if event.type() in (QEvent.Type.Enter, QEvent.Type.Leave):
            for drawn, knobs in self._formulae:
                if drawn is watched:
                    self.symbols_hovered.emit(knobs if event.type() == QEvent.Type.Enter else set())
        return False

    def _clicked(self, url: QUrl) -> None:
        if url.scheme() == "preset" and self.card is not None:
            at = url.path()
            if at.isascii() and at.isdigit() and int(at) < len(self.card.presets):
                self.preset_chosen.emit(self.card.presets[int(at)].name)
        elif url.scheme() == "https" and url.host() == "arxiv.org":
            QDesktopServices.openUrl(url)


def live_numbers(card: Card, lab: Lab, store: Store) -> str:
    """`η = 0.1 · 2/η = 20`: what the symbols stand for now, and what theory makes of them."""
    named: dict[str, str] = {}
    for f in card.formulae:
        for name in f.symbols.values():
            named[name] = name
    parts = []
    for knob in card.knobs:
        if knob.name in named and knob.name in lab.values and knob.name not in lab.sweep:
            parts.append(f"{knob.symbol or knob.name} = {number(lab.values[knob.name])}")
    run = store.run()
    own = run.predicted if run is not None and run.experiment == card.name else {}
    said = {p.prediction: p.text for p in {**own, **store.draft}.values() if " = " in p.text}
    parts += [plain(t, 80) for t in said.values()]
    return "  ·  ".join(parts)
