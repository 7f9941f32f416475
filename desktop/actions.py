"""One registry of actions. Menus, toolbar buttons, context menus, shortcuts and the palette all come from it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from PySide6.QtCore import QObject
from PySide6.QtGui import QAction, QKeySequence
from PySide6.QtWidgets import QMenu, QMenuBar, QToolButton, QWidget

from desktop import theme

MENUS = ("File", "Edit", "Run", "View", "Help")


@dataclass(frozen=True)
class Action:
    id: str  # "run.toggle"
    text: str  # a verb, sentence case
    handler: Callable[[], None]
    menu: tuple[str, ...]  # ("File",) or ("View", "Theme")
    shortcut: str = ""
    icon: str = ""
    enabled: Callable[[], bool] | None = None
    checked: Callable[[], bool] | None = None  # makes it a toggle
    tip: str = ""
    words: Callable[[], str] | None = None  # its text where that changes: "Undo delete η = 0.05"
    group: int = 0  # a separator stands where the number changes


class Registry(QObject):
    """Actions in the order in which they were added; `refresh` brings enabled, checked and texts up to date."""

    def __init__(self, window: QWidget) -> None:
        super().__init__(window)
        self._window = window
        self._actions: dict[str, Action] = {}
        self._made: dict[str, QAction] = {}

    def add(self, *actions: Action) -> None:
        for a in actions:
            if a.id in self._actions:
                raise ValueError(f"two actions {a.id}")
            if a.menu[0] not in MENUS:
                raise ValueError(f"{a.id}: no menu {a.menu[0]}; there are {', '.join(MENUS)}")
            taken = {b.shortcut: b.id for b in self._actions.values() if b.shortcut}
            if a.shortcut in taken:
                raise ValueError(f"{a.id}: {a.shortcut} belongs to {taken[a.shortcut]}")
            self._actions[a.id] = a
            self._made[a.id] = self._make(a)

    def _make(self, a: Action) -> QAction:
        made = QAction(a.text, self)
        made.setObjectName(a.id)
        if a.shortcut:
            made.setShortcut(QKeySequence(a.shortcut))
        if a.icon:
            made.setIcon(theme.icon(a.icon))
        made.setCheckable(a.checked is not None)
        keys = (
            f" ({made.shortcut().toString(QKeySequence.SequenceFormat.NativeText)})"
            if a.shortcut
            else ""
        )
        made.setToolTip((a.tip or a.text) + keys)
        if a.id in ("app.about", "app.quit"):
            role = QAction.MenuRole.AboutRole if a.id == "app.about" else QAction.MenuRole.QuitRole
            made.setMenuRole(role)
        made.triggered.connect(lambda: self.run(a.id))
        self._window.addAction(made)
        return made

    def all(self) -> list[Action]:
        return list(self._actions.values())

    def ids(self) -> list[str]:
        return list(self._actions)

    def get(self, name: str) -> Action:
        return self._actions[name]

    def qaction(self, name: str) -> QAction:
        return self._made[name]

    def enabled(self, name: str) -> bool:
        a = self._actions[name]
        return a.enabled is None or bool(a.enabled())

    def run(self, name: str) -> None:
        """Carries an action out if it may be."""
        if self.enabled(name):
            self._actions[name].handler()
        self.refresh()

    def refresh(self) -> None:
        for a in self._actions.values():
            made = self._made[a.id]
            made.setEnabled(self.enabled(a.id))
            if a.checked is not None:
                made.setChecked(bool(a.checked()))
            if a.words is not None:
                made.setText(a.words())

    # --- where they are shown ---

    def fill(self, bar: QMenuBar) -> dict[str, QMenu]:
        """Every action into its menu. Returns the menus by their path."""
        menus: dict[str, QMenu] = {}
        groups: dict[str, int] = {}
        for name in MENUS:
            menus[name] = bar.addMenu(name)
        for a in self._actions.values():
            path = "/".join(a.menu)
            if path not in menus:
                parent = menus["/".join(a.menu[:-1])]
                if groups.get("/".join(a.menu[:-1]), a.group) != a.group:
                    parent.addSeparator()
                groups["/".join(a.menu[:-1])] = a.group
                menus[path] = parent.addMenu(a.menu[-1])
            if path in groups and groups[path] != a.group:
                menus[path].addSeparator()
            groups[path] = a.group
            menus[path].addAction(self._made[a.id])
        for menu in menus.values():
            menu.aboutToShow.connect(self.refresh)
            menu.setToolTipsVisible(True)
        return menus

    def menu(self, names: Iterable[str], parent: QWidget) -> QMenu:
        """A context menu of some actions; an empty name is a separator."""
        self.refresh()
        out = QMenu(parent)
        for name in names:
            if name:
                out.addAction(self._made[name])
            else:
                out.addSeparator()
        return out

    def button(self, name: str, parent: QWidget | None = None, text: str = "") -> QToolButton:
        """A button that is this action, named for a screen reader."""
        button = QToolButton(parent)
        button.setDefaultAction(self._made[name])
        button.setAccessibleName(self._actions[name].text)
        if text:
            button.setText(text)
        return button
