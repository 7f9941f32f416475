"""What a QPalette cannot say: rounded controls, thin scroll bars, cards. Written anew from the tokens at every change.

A widget opts in by a property, set before it is shown:

    card = true                             a surface with a hairline and rounded corners (QFrame)
    kind = "primary" | "quiet"              a QPushButton or QToolButton of that rank
    role = "title" | "heading" | "caption" | "section" | "error"    a QLabel's size and ink
"""

from __future__ import annotations

from PySide6.QtGui import QColor, QPalette

from desktop import resources
from desktop.theme_tokens import Tokens
from desktop.theme_vision import mix

RADIUS = 6


def palette(t: Tokens) -> QPalette:
    p = QPalette()
    role = QPalette.ColorRole
    for which, colour in (
        (role.Window, t.window),
        (role.WindowText, t.text),
        (role.Base, t.surface),
        (role.AlternateBase, t.window),
        (role.Text, t.text),
        (role.Button, t.surface),
        (role.ButtonText, t.text),
        (role.BrightText, t.bad),
        (role.Highlight, t.selection),
        (role.HighlightedText, t.text),
        (role.ToolTipBase, t.surface),
        (role.ToolTipText, t.text),
        (role.PlaceholderText, t.muted),
        (role.Link, t.accent),
        (role.LinkVisited, t.accent),
        (role.Accent, t.accent),
        (role.Light, t.raised),
        (role.Midlight, t.hairline),
        (role.Mid, t.border),
        (role.Dark, t.border),
        (role.Shadow, t.border),
    ):
        p.setColor(which, QColor(colour))
    faded = QColor(mix(t.text, t.surface, 0.55))
    for which in (role.WindowText, role.Text, role.ButtonText):
        p.setColor(QPalette.ColorGroup.Disabled, which, faded)
    return p


def sheet(t: Tokens) -> str:
    arrow = resources.path("icons", f"arrow-{t.name}.svg").as_posix()
    up = resources.path("icons", f"arrow-up-{t.name}.svg").as_posix()
    tick = resources.path("icons", f"tick-{t.name}.svg").as_posix()
    faded = mix(t.text, t.surface, 0.55)
    return f"""
QToolTip {{ background: {t.surface}; color: {t.text}; border: 1px solid {t.hairline}; padding: 4px 6px; }}
QFrame[card="true"] {{ background: {t.surface}; border: 1px solid {t.hairline}; border-radius: {RADIUS}px; }}

QLabel[role="title"] {{ font-size: {t.title}px; font-weight: 600; }}
QLabel[role="heading"] {{ font-size: {t.heading}px; font-weight: 600; }}
QLabel[role="caption"] {{ font-size: {t.captions}px; color: {t.muted}; }}
QLabel[role="section"] {{ font-size: {t.captions}px; font-weight: 600; color: {t.muted}; }}
QLabel[role="error"] {{ font-size: {t.captions}px; color: {t.bad}; }}

QPushButton, QToolButton[kind="primary"] {{
    background: {t.surface}; color: {t.text}; border: 1px solid {t.hairline}; border-radius: {RADIUS}px;
    padding: 0 12px; min-height: 26px; }}
QPushButton:hover {{ background: {t.raised}; }}
QPushButton:pressed {{ background: {t.hairline}; }}
QPushButton:focus {{ border: 2px solid {t.accent}; padding: 0 11px; min-height: 24px; }}
QPushButton:disabled {{ color: {faded}; }}
QPushButton:checked {{ background: {t.selection}; border-color: {t.accent}; }}
QPushButton[kind="primary"], QToolButton[kind="primary"] {{
    background: {t.accent}; color: {t.on_accent}; border-color: {t.accent}; font-weight: 600; }}
QPushButton[kind="primary"]:hover, QToolButton[kind="primary"]:hover {{ background: {mix(t.accent, t.text, 0.15)}; }}
QPushButton[kind="primary"]:focus, QToolButton[kind="primary"]:focus {{ border: 2px solid {t.text}; }}
QPushButton[kind="primary"]:disabled {{ background: {t.raised}; color: {faded}; border-color: {t.hairline}; }}
QPushButton[kind="quiet"] {{ background: transparent; border-color: transparent; }}
QPushButton[kind="quiet"]:hover {{ background: {t.raised}; }}
QPushButton[kind="quiet"]:focus {{ border-color: {t.accent}; }}

QToolButton {{ background: transparent; border: 1px solid transparent; border-radius: 4px; padding: 2px; }}
QToolButton:hover {{ background: {t.raised}; }}
QToolButton:pressed, QToolButton:checked {{ background: {t.selection}; }}
QToolButton:focus {{ border: 2px solid {t.accent}; padding: 1px; }}
QToolButton::menu-indicator {{ image: none; }}

QLineEdit, QComboBox, QAbstractSpinBox {{
    background: {t.surface}; color: {t.text}; border: 1px solid {t.border}; border-radius: {RADIUS}px;
    padding: 0 7px; min-height: 24px; selection-background-color: {t.selection}; selection-color: {t.text}; }}
QLineEdit:focus, QComboBox:focus, QAbstractSpinBox:focus {{
    border: 2px solid {t.accent}; padding: 0 6px; min-height: 22px; }}
QAbstractSpinBox QLineEdit, QComboBox QLineEdit {{ border: none; padding: 0; min-height: 0; background: transparent; }}
QLineEdit[state="bad"] {{ border-color: {t.bad}; }}
QLineEdit:disabled, QComboBox:disabled, QAbstractSpinBox:disabled {{
    color: {faded}; border-color: {t.hairline}; background: {t.window}; }}
QComboBox::drop-down {{ border: none; width: 22px; }}
QComboBox::down-arrow, QAbstractSpinBox::down-arrow {{ image: url("{arrow}"); width: 12px; height: 12px; }}
QAbstractSpinBox::up-arrow {{ image: url("{up}"); width: 12px; height: 12px; }}
QAbstractSpinBox::up-button, QAbstractSpinBox::down-button {{ border: none; width: 18px; background: transparent; }}
QAbstractSpinBox::up-button:hover, QAbstractSpinBox::down-button:hover {{ background: {t.raised}; }}
QComboBox QAbstractItemView {{
    background: {t.surface}; border: 1px solid {t.hairline}; outline: none; padding: 4px;
    selection-background-color: {t.selection}; selection-color: {t.text}; }}
QCheckBox {{ spacing: 8px; min-height: 24px; }}
QCheckBox::indicator {{
    width: 16px; height: 16px; border: 1px solid {t.border}; border-radius: 4px; background: {t.surface}; }}
QCheckBox::indicator:checked {{ background: {t.accent}; border-color: {t.accent}; image: url("{tick}"); }}
QCheckBox:focus {{ color: {t.accent}; }}

QTreeView, QListView, QTableView, QTextBrowser, QPlainTextEdit {{
    background: transparent; border: none; outline: none; }}
QTreeView::item, QListView::item {{ min-height: 26px; border-radius: 4px; padding: 0 4px; }}
QTreeView::item:hover, QListView::item:hover {{ background: {t.raised}; }}
QTreeView::item:selected, QListView::item:selected {{ background: {t.selection}; color: {t.text}; }}
QHeaderView::section {{
    background: transparent; color: {t.muted}; border: none; border-bottom: 1px solid {t.hairline}; padding: 4px 8px; }}

QMenuBar {{ background: {t.window}; }}
QMenuBar::item {{ padding: 4px 8px; border-radius: 4px; background: transparent; }}
QMenuBar::item:selected {{ background: {t.raised}; }}
QMenu {{ background: {t.surface}; border: 1px solid {t.hairline}; padding: 4px; }}
QMenu::item {{ padding: 5px 24px 5px 12px; border-radius: 4px; }}
QMenu::item:selected {{ background: {t.selection}; }}
QMenu::item:disabled {{ color: {faded}; }}
QMenu::separator {{ height: 1px; background: {t.hairline}; margin: 4px 8px; }}
QMenu::icon {{ padding-left: 8px; }}

QTabBar::tab {{ background: transparent; color: {t.muted}; padding: 5px 12px; border: none;
    border-bottom: 2px solid transparent; }}
QTabBar::tab:selected {{ color: {t.text}; border-bottom-color: {t.accent}; }}
QTabBar::tab:focus {{ color: {t.accent}; }}
QTabWidget::pane {{ border: none; }}
QStatusBar {{ background: {t.window}; color: {t.muted}; }}
QStatusBar::item {{ border: none; }}
QProgressBar {{ background: {t.hairline}; border: none; border-radius: 2px; max-height: 4px; text-align: center; }}
QProgressBar::chunk {{ background: {t.accent}; border-radius: 2px; }}
QSplitter::handle, QMainWindow::separator {{ background: transparent; width: 8px; height: 8px; }}
QMainWindow::separator:hover, QSplitter::handle:hover {{ background: {t.raised}; }}
QScrollArea {{ background: transparent; border: none; }}
QScrollBar {{ background: transparent; border: none; margin: 0; }}
QScrollBar:vertical {{ width: 10px; }}
QScrollBar:horizontal {{ height: 10px; }}
QScrollBar::handle {{ background: {t.border}; border-radius: 3px; margin: 2px; }}
QScrollBar::handle:vertical {{ min-height: 32px; }}
QScrollBar::handle:horizontal {{ min-width: 32px; }}
QScrollBar::add-line, QScrollBar::sub-line {{ width: 0; height: 0; }}
QScrollBar::add-page, QScrollBar::sub-page {{ background: transparent; }}
"""
