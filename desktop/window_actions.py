"""Everything the window can do, as entries of the registry."""

from __future__ import annotations

import functools
import shlex
from collections.abc import Callable
from typing import TYPE_CHECKING

from PySide6.QtGui import QGuiApplication

from desktop import theme
from desktop.actions import Action, Registry
from desktop.panels import dialogs
from desktop.runs import ACTIVE, OVER, Run
from engine.twin import python_of

if TYPE_CHECKING:
    from desktop.window import Window

RUN_MENU = (
    "run.pin", "run.ghost", "run.solo", "run.hide", "run.recolour", "", "edit.rename", "run.branch",
    "edit.copy_command", "edit.copy_python", "", "edit.delete",
)  # fmt: skip
PLOT_MENU = ("file.export", "edit.copy_table", "", "view.follow", "view.crosshair_off")
TOOLBAR = ("run.toggle", "run.step1", "run.step10", "run.step100", "run.restart", "run.branch")


def command_of(run: Run) -> str:
    """The command line that trains this run."""
    words = ["lemmascope", "run", run.experiment]
    for k, v in run.values.items():
        if k not in run.sweep:
            words += ["--set", f"{k}={number_exact(v)}"]
    for k, values in run.sweep.items():
        words += ["--set", f"{k}={','.join(number_exact(v) for v in values)}"]
    words += ["--seeds", str(run.seeds), "--dtype", run.dtype or "float32"]
    return shlex.join(words)


def number_exact(value: object) -> str:
    return repr(value) if isinstance(value, float) else str(value)


def void(_: object) -> None:
    """A handler gives nothing back."""


def mode_is(mode: str) -> bool:
    return theme.mode() == mode


def register(w: Window, registry: Registry) -> None:
    store, lab = w.store, w.lab

    def run() -> Run | None:
        return store.run()

    def has_run() -> bool:
        return run() is not None

    def open_run() -> bool:
        r = run()
        return r is not None and r.state not in OVER

    def paused() -> bool:
        r = run()
        return r is not None and r.state in (*ACTIVE, "paused", "cancelled", "failed")

    def ready() -> bool:
        return lab.card is not None

    def saveable() -> bool:
        return any(r.started for r in store.runs.values())

    def copy(text: str) -> None:
        QGuiApplication.clipboard().setText(text)
        w.say("Copied")

    def copy_table() -> None:
        cells = w.board.cells
        cell = w.asked if w.asked in cells else cells[0]
        headers, rows = cell.plot.table()
        lines = ["\t".join(headers), *("\t".join(str(v) for v in row) for row in rows)]
        copy("\n".join(lines))

    def flip_role(role: str) -> None:
        if (r := run()) is not None:
            store.set_role(r.id, "live" if r.role == role else role)  # type: ignore[arg-type]

    def flip_hidden() -> None:
        if (r := run()) is not None:
            store.set_hidden(r.id, not r.hidden)

    def neighbour(by: int) -> None:
        names = sorted(store.cards)
        if lab.card is not None and names:
            lab.show(names[(names.index(lab.card.name) + by) % len(names)])

    def is_role(role: str) -> Callable[[], bool]:
        return lambda: (r := run()) is not None and r.role == role

    def word() -> str:
        r = run()
        if r is not None and r.state in ACTIVE:
            return "Pause"
        return (
            "Resume" if r is not None and r.state in ("paused", "cancelled", "failed") else "Play"
        )

    file, edit, go, view, help_ = ("File",), ("Edit",), ("Run",), ("View",), ("Help",)
    registry.add(
        Action("file.open", "Open…", w.files.ask_open, file, "Ctrl+O", "open"),
        Action("file.recover", "Recovered runs…", w.recovery.show_all, file, "", "clock",
               lambda: bool(store.orphans or store.recovered())),
        Action("file.save", "Save", w.files.save, file, "Ctrl+S", "save", saveable),
        Action("file.save_as", "Save as…", w.files.ask_save, file, "Ctrl+Shift+S", "", saveable),
        Action("file.export", "Export…", w.files.ask_export, file, "Ctrl+E", "export", lambda: bool(w.board.cells), group=1),
        Action("file.clear_recent", "Clear recent files", w.settings.clear_recent, file, "", "",
               lambda: bool(w.settings.recent), group=2),
        Action("app.quit", "Quit", lambda: void(w.close()), file, "Ctrl+Q", group=3),
        Action("edit.undo", "Undo", store.history.undo, edit, "Ctrl+Z", "undo",
               lambda: bool(store.history.undo_text),
               words=lambda: " ".join(["Undo", store.history.undo_text]).strip()),
        Action("edit.redo", "Redo", store.history.redo, edit, "Ctrl+Shift+Z", "redo",
               lambda: bool(store.history.redo_text),
               words=lambda: " ".join(["Redo", store.history.redo_text]).strip()),
        Action("edit.randomise", "Randomise unlocked parameters", lab.randomise, edit, "Ctrl+R", "dice", ready, group=1),
        Action("edit.reset", "Reset parameters", lab.reset, edit, "", "reset", ready, group=1),
        Action("edit.rename", "Rename run", w.runs_rename, edit, "F2", "edit", has_run, group=2),
        Action("edit.delete", "Delete run", lambda: lab.delete(store.current), edit, "Del", "delete", has_run, group=2),
        Action("edit.copy_table", "Copy values as a table", copy_table, edit, "Ctrl+Shift+C", "copy",
               lambda: bool(w.board.cells), group=3),
        Action("edit.copy_command", "Copy run as a command", lambda: copy(command_of(store.runs[store.current])),
               edit, "", "command", has_run, group=3),
        Action("edit.copy_python", "Copy run as Python",
               lambda: copy(python_of(store.runs[store.current], store.runs[store.current].changes)),
               edit, "", "copy", lambda: (r := run()) is not None and r.started, group=3,
               tip="A program that trains this run again, its changes included"),
        Action("edit.own", "Own experiments…", w.show_own, edit, "", "settings", group=4,
               tip="Python files of your own: which there are, which may run"),
        Action("run.toggle", "Play", lab.toggle, go, "Ctrl+Return", "play", ready, words=word,
               tip="Play, pause or resume"),
        Action("run.step1", "Step once", lambda: lab.step(1), go, "Ctrl+1", "step", paused),
        Action("run.step10", "Step 10 times", lambda: lab.step(10), go, "Ctrl+2", "step10", paused),
        Action("run.step100", "Step 100 times", lambda: lab.step(100), go, "Ctrl+3", "step100", paused),
        Action("run.restart", "Start anew", lab.start, go, "F5", "restart", ready),
        Action("run.stop", "Stop", lab.cancel, go, "Ctrl+.", "stop", open_run),
        Action("run.branch", "Branch from a checkpoint", lambda: lab.branch(store.current, w.board.at), go,
               "Ctrl+B", "branch", lambda: (r := run()) is not None and bool(r.full_checkpoints()),
               tip="A new run from the checkpoint before the crosshair", group=1),
        Action("run.pin", "Pin", lambda: flip_role("pinned"), go, "Ctrl+Shift+N", "pin", has_run, is_role("pinned"), group=2),
        Action("run.ghost", "Show as ghost", lambda: flip_role("ghost"), go, "", "ghost", has_run, is_role("ghost"), group=2),
        Action("run.solo", "Solo", lambda: store.set_solo("" if store.solo == store.current else store.current), go,
               "Ctrl+Shift+O", "solo", has_run, lambda: bool(store.solo) and store.solo == store.current, group=2),
        Action("run.hide", "Hide", flip_hidden, go, "", "eye-off", has_run,
               lambda: (r := run()) is not None and r.hidden, group=2),
        Action("run.recolour", "Next colour",
               lambda: store.recolour(store.current, store.runs[store.current].colour + 1), go, "", "palette", has_run,
               group=2),
        Action("view.palette", "Command palette…", w.open_palette, view, "Ctrl+K", "search"),
        Action("view.next", "Next result", lambda: neighbour(1), view, "Alt+Down", "", ready, group=1),
        Action("view.previous", "Previous result", lambda: neighbour(-1), view, "Alt+Up", "", ready, group=1),
        Action("view.follow", "Fit the axes to the data", w.follow, view, "Ctrl+0", "fit", lambda: bool(w.board.cells),
               group=2),
        Action("view.crosshair_off", "Remove the crosshair", w.crosshair_off, view, "Ctrl+Shift+X", "", lambda: w.board.at is not None,
               group=2),
    )  # fmt: skip
    for name, text in (
        ("gallery", "Results"), ("runs", "Runs"), ("parameters", "Parameters"), ("explain", "Explanation"),
    ):  # fmt: skip
        registry.add(
            Action(
                f"view.{name}",
                text,
                functools.partial(w.toggle_dock, name),
                ("View", "Panels"),
                checked=functools.partial(w.dock_shown, name),
                group=3,
            )
        )
    registry.add(
        Action("view.layout", "Reset the layout", w.place_docks, ("View", "Panels"), group=4),
        Action("view.focus", "Focus on the plots", lambda: w.set_focus_mode(not w.focus), view, "Ctrl+Shift+F", "focus",
               checked=lambda: w.focus, group=3),
        Action("view.present", "Present", lambda: w.set_present_mode(not w.present), view, "Ctrl+Shift+P", "present",
               checked=lambda: w.present, tip="Larger type for a projector", group=3),
        Action("view.full", "Full screen", w.toggle_full_screen, view, "F11", checked=w.isFullScreen, group=3),
    )  # fmt: skip
    for mode, text, icon in (
        ("light", "Light", "sun"), ("dark", "Dark", "moon"), ("system", "As the system", "system"),
    ):  # fmt: skip
        registry.add(
            Action(
                f"theme.{mode}",
                text,
                functools.partial(w.set_theme, mode),
                ("View", "Theme"),
                icon=icon,
                checked=functools.partial(mode_is, mode),
                group=4,
            )
        )
    registry.add(
        Action("help.shortcuts", "Keyboard shortcuts", lambda: dialogs.shortcuts(w, registry).show(), help_, "F1", "help"),
        Action("help.log", "Log", w.show_log, help_, "", "log"),
        Action("app.about", "About Lemmascope", lambda: dialogs.about(w).show(), help_, "", "info", group=1),
    )  # fmt: skip
