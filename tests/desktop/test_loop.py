"""Nothing is silent: wherever an exception is thrown, there is one entry in the log and one notice."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

PROGRAM = """
import asyncio, os, sys, threading
from PySide6.QtCore import QEvent, QObject, QThread, QTimer, Signal
from PySide6.QtWidgets import QApplication, QWidget
from desktop import loop
app = QApplication([])
loop.install(to_stderr=False)
said = []
loop.notices().raised.connect(lambda text, n: said.append((text, n)), loop.QUEUED)

class Thrower(QObject):
    go = Signal()
    def __init__(self):
        super().__init__()
        self.go.connect(self.slot)
    def slot(self):
        raise ValueError("thrown")

class Widget(QWidget):
    def event(self, event):
        if event.type() == QEvent.Type.User:
            raise ValueError("thrown")
        return super().event(event)

class Thread(QThread):
    def run(self):
        raise ValueError("thrown")

def throw():
    raise ValueError("thrown")

async def coroutine():
    throw()

kept = []
def begin():
    where = sys.argv[1]
    if where == "slot":
        kept.append(Thrower()); QTimer.singleShot(0, kept[0].go.emit)
    elif where == "override":
        kept.append(Widget()); QApplication.postEvent(kept[0], QEvent(QEvent.Type.User))
    elif where == "timer":
        QTimer.singleShot(0, throw)
    elif where == "task":
        loop.spawn_task(coroutine())
    elif where == "call_soon":
        asyncio.get_event_loop().call_soon(throw)
    elif where == "call_soon_threadsafe":
        threading.Thread(target=lambda: the_loop.call_soon_threadsafe(throw)).start()
    elif where == "thread":
        threading.Thread(target=throw).start()
    elif where == "qthread":
        kept.append(Thread()); kept[0].start()
    elif where == "nothing":
        pass
    async def rest():
        pass
    QTimer.singleShot(400, lambda: loop.finish(rest))

the_loop = None
def remember():
    global the_loop
    the_loop = asyncio.get_event_loop()
    begin()

code = loop.run(app, remember)
log = loop.log_file().read_text() if loop.log_file().exists() else ""
print("notices", len(said), "entries", log.count("ERROR"), "named", log.count("ValueError: thrown"), "code", code)
"""


def run(where, folder):
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, where], capture_output=True, text=True, cwd=ROOT, timeout=60, check=False,
        env=os.environ | {"LEMMASCOPE_STATE": str(folder), "QT_QPA_PLATFORM": "offscreen"},
    )  # fmt: skip
    assert done.stdout, done.stderr
    return done.stdout.strip().splitlines()[-1]


@pytest.mark.parametrize(
    "where",
    ["slot", "override", "timer", "task", "call_soon", "call_soon_threadsafe", "thread", "qthread"],
)
def test_an_exception_gives_one_entry_and_one_notice(where, tmp_path):
    assert run(where, tmp_path) == "notices 1 entries 1 named 1 code 0"


def test_without_an_exception_nothing_is_said(tmp_path):
    assert run("nothing", tmp_path) == "notices 0 entries 0 named 0 code 0"


def test_a_folder_that_cannot_be_written_does_not_stop_the_start(tmp_path):
    blocked = tmp_path / "file"
    blocked.write_text("not a folder")
    assert run("nothing", blocked / "log").endswith("code 0")
