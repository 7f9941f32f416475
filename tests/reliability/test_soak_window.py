"""The window over a long day, in short: runs start, end and are forgotten, experiments change, sessions open.

After a warm-up the counts of threads, file descriptors, child processes, Qt timers, QObjects and widgets must come back
to where they were after each round, and memory must not grow. `--long` makes it ten minutes.

The program runs in a process of its own on the cardboard engine, so that nothing else is counted.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np

ROOT = Path(__file__).parents[2]
EACH, LONG = 3, 25  # rounds between counts
MANY = 8  # counts from which on memory has a slope
COUNTS = ("threads", "files", "children", "timers", "objects", "widgets", "runs", "kept")

PROGRAM = """
import gc, json, os, sys, tempfile, time
from pathlib import Path
import psutil
from PySide6.QtCore import QCoreApplication, QEvent, QObject, QTimer
from PySide6.QtWidgets import QApplication, QWidget
from desktop import theme
from desktop.settings import Settings
from desktop.store import Store
from desktop.window import Window
from engine.messages import Opened, Orphaned, Refused, Saved, Start, Status
from tests.desktop import fake

seconds, leak, EACH = float(sys.argv[1]), sys.argv[2], int(sys.argv[3])
app = QApplication([])
theme.apply(app, "light")
store, link = Store(), fake.FakeLink(True)
folder = Path(tempfile.mkdtemp())
window = Window(store, link, Settings(folder))
link.received.connect(store.apply)
window.resize(900, 640)  # painting is most of what a round costs
window.show()
window.lab.describe()
me, kept, number = psutil.Process(), [], 0
window.store.history.LIMIT = 20  # so that what can no longer be undone is reached within a round


def frame():
    app.processEvents()
    QCoreApplication.sendPostedEvents(None, QEvent.Type.DeferredDelete)  # as a loop that runs does
    window.tick()


def play(run, start=None):
    for i, m in enumerate(fake.stream(run, start)[1:]):
        link.say(m)
        if i % 16 == 0:
            frame()
    frame()


def round():
    global number
    number += 1
    lab = window.lab
    for name in ("kernels/paper", "stability/cardboard"):
        lab.show(name)
        window.explain.set_all()
        lab.choose_preset("widths" if number % 2 else "wide")
        play(store.current, link.of(Start)[-1])
        lab.commit("noise", 0.01 * (number % 100))
        lab.commit("lr", 0.1 + 0.001 * (number % 100))
        lab.start()
        play(store.current)
        store.rename(store.current, f"run {number}")
        store.set_role(store.current, "pinned")
        link.say(Status(store.current, "failed", 200, f"fault {number}"))
        frame()
        window.notice.dismiss()
    for m in fake.stream(f"file{number}"):
        link.say(m)
    link.say(Opened(f"/x/{number}.lemma.h5", (f"file{number}",), notice="a notice", cards=(fake.card(f"own/{number % 3}"),)))
    link.say(Orphaned(f"/j/{number}", "stability/cardboard", 5, 1e9))
    frame()
    window.recovery.discard_wanted.emit(f"/j/{number}")
    link.say(Saved("/x/y.lemma.h5"))
    window.palette_box.open("lr 0.3")
    frame()
    window.palette_box.close_palette()
    window.registry.run("edit.own")
    frame()
    window.own_window.close()
    window.files.ask_save()
    frame()
    for dialog in window.findChildren(QWidget, "QFileDialog"):
        dialog.close()
    window.registry.run("view.focus"); frame(); window.registry.run("view.focus")
    if number % 5 == 0:
        window.registry.run("theme.dark" if number % 10 else "theme.light")
    for run in list(store.runs):  # all are forgotten, as a person deletes them
        store.select(run)
        lab.delete(run)
        if number % 3 == 0:
            store.history.undo(); store.history.redo()
    while window.notice.isVisible():
        window.notice.dismiss()
    link.sent.clear()
    if leak:
        kept.append(QTimer(window))
        kept[-1].start(10_000)
        kept.append([[] for _ in range(100)])
        kept.append(os.urandom(1 << 20))
        kept.append(open(os.devnull))
        QWidget(window)


def settle():
    for _ in range(5):
        frame()
    gc.collect()


def counts():
    time.sleep(0.4)  # one-shot timers of the last round have fired
    settle()
    everything = window.findChildren(QObject)
    return {
        "memory": me.memory_info().rss / 1e6, "threads": me.num_threads(), "files": me.num_fds(),
        "children": len(me.children(recursive=True)),
        "timers": sum(t.isActive() for t in everything if isinstance(t, QTimer)),
        "objects": len(everything), "widgets": len(QApplication.allWidgets()),
        "runs": len(store.runs), "kept": len(store._removed),
        "python": len(gc.get_objects()),
    }


begun = time.monotonic()
for _ in range(6):
    round()
seen = [counts()]
while time.monotonic() - begun < seconds or len(seen) < 4:
    for _ in range(EACH):
        round()
    seen.append(counts())
print(json.dumps({"rounds": number, "seen": seen}), flush=True)
os._exit(0)
"""


def soak(seconds, leak="", each=EACH):
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(seconds), leak, str(each)], cwd=ROOT, capture_output=True, text=True,
        timeout=seconds + 240, check=False, env=os.environ | {"QT_QPA_PLATFORM": "offscreen"},
    )  # fmt: skip
    assert done.stdout, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])


def leaks(told, each=EACH):
    """What is more at the end than after the warm-up: counts at all; memory by more than 60 kB a round, or where a
    slope of a few counts says nothing, by more than 3 MB."""
    seen = told["seen"]
    out = {c: (seen[0][c], seen[-1][c]) for c in COUNTS if seen[-1][c] > seen[0][c]}
    rounds = each * np.arange(len(seen))
    memory = [s["memory"] for s in seen]
    half = len(seen) // 2  # the first half may still fill caches and pools
    slope = np.polyfit(rounds[half:], memory[half:], 1)[0]
    if slope > 0.06 if len(seen) >= MANY else memory[-1] - memory[0] > 3:
        out["memory"] = memory
    python = np.polyfit(rounds, [s["python"] for s in seen], 1)[0]
    if python > 12:  # PySide keeps a wrapper of each theme's style: five a round, all told
        out["python"] = f"{python:.1f} objects a round"
    return out


def test_nothing_grows_while_runs_come_and_go(request):
    long = request.config.getoption("--long")
    each = LONG if long else EACH
    told = soak(600 if long else 1, each=each)
    print(told)
    assert told["rounds"] >= 15
    assert leaks(told, each) == {}


def test_the_gate_finds_leaks():
    """A test that cannot fail is none: what leaks on purpose is found."""
    assert set(leaks(soak(1, "all"))) >= {
        "timers",
        "objects",
        "files",
        "widgets",
        "memory",
        "python",
    }
