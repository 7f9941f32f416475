"""The sessions that come with the program: which there are, and what they are called."""

from __future__ import annotations

import functools
import os
from collections.abc import Mapping
from typing import TYPE_CHECKING

from PySide6.QtWidgets import QMenu

from desktop import resources
from desktop.panels.gallery import short_title, spelt
from engine.messages import Card

if TYPE_CHECKING:
    from desktop.window import Window

ENDING = ".lemma.h5"


def folder() -> str:
    return os.path.realpath(resources.root() / "sessions")


def paths() -> list[str]:
    """Their files, by name; none where an installation came without them."""
    try:
        names = sorted(os.listdir(folder()))
    except OSError:
        return []
    return [os.path.join(folder(), n) for n in names if n.endswith(ENDING)]


def is_example(path: str) -> bool:
    """Whether a session is one of them. Nothing is saved over those, and they are always to be found in the menu."""
    return bool(path) and os.path.dirname(os.path.realpath(path)) == folder()


def shown(path: str, cards: Mapping[str, Card]) -> tuple[str, str]:
    """Its title and what it shows: those of the result that its file is named after."""
    stem = os.path.basename(path).removesuffix(ENDING)
    for card in cards.values():
        if card.name.rpartition("/")[2] == stem:
            return short_title(card), card.title
    return spelt(stem), ""


class ExamplesMenu(QMenu):
    """Filled when it opens, since the titles come with the catalogue."""

    def __init__(self, window: Window) -> None:
        super().__init__("Open example", window)
        self.window_ = window
        self.setToolTipsVisible(True)
        self.setEnabled(bool(paths()))
        self.aboutToShow.connect(self.fill)

    def fill(self) -> None:
        self.clear()
        for path in paths():
            title, what = shown(path, self.window_.store.cards)
            action = self.addAction(title, functools.partial(self.window_.files.open_path, path))
            action.setToolTip(what or title)
