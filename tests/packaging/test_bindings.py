"""PySide6 6.12 loses one reference to None per void call on Python 3.11, until the interpreter aborts; ours must not."""

import json
import subprocess
import sys

import PySide6
import pytest

CALLS = 1000
FEW = 50  # references that other parts of the interpreter may move meanwhile; the fault moves CALLS

# In a process of its own: with the fault, the references of this one would be gone too.
PROBE = f"""
import json, sys
from PySide6 import QtCore, QtGui, QtWidgets
app = QtWidgets.QApplication([])

class Sender(QtCore.QObject):
    sent = QtCore.Signal(int)

class Painted(QtWidgets.QWidget):
    def paintEvent(self, event):
        QtGui.QPainter(self).drawLine(0, 0, 9, 9)

label, slider, box, painted = QtWidgets.QLabel(), QtWidgets.QSlider(), QtWidgets.QCheckBox(), Painted()
painted.resize(20, 20)
path, array, timer, sender = QtGui.QPainterPath(), QtCore.QByteArray(), QtCore.QTimer(), Sender()
sender.sent.connect(lambda n: None)
image = QtGui.QImage(20, 20, QtGui.QImage.Format.Format_RGB32)
moves = {{
    "QLabel.setText": lambda i: label.setText(str(i)),
    "QSlider.setValue": lambda i: slider.setValue(i % 100),
    "QCheckBox.setChecked": lambda i: box.setChecked(bool(i % 2)),
    "QWidget.setEnabled": lambda i: label.setEnabled(bool(i % 2)),
    "QWidget.resize": lambda i: label.resize(10 + i % 9, 10),
    "QWidget.render": lambda i: painted.render(image),
    "QPainterPath.moveTo": lambda i: path.moveTo(i, i),
    "QPainterPath.reserve": lambda i: path.reserve(i),
    "QByteArray.resize": lambda i: array.resize(i % 50),
    "QImage.fill": lambda i: image.fill(i),
    "QTimer.start": lambda i: timer.start(10_000),
    "QTimer.stop": lambda i: timer.stop(),
    "Signal.emit": lambda i: sender.sent.emit(i),
    "QCoreApplication.processEvents": lambda i: app.processEvents(),
}}
moved = {{}}
for name, move in moves.items():
    move(0)
    before = [sys.getrefcount(x) for x in (None, True, False)]
    for i in range({CALLS}):
        move(i)
    moved[name] = [sys.getrefcount(x) - b for x, b in zip((None, True, False), before)]
print(json.dumps(moved))
"""


@pytest.mark.skipif(sys.version_info >= (3, 12), reason="None is immortal from Python 3.12 on")
def test_qt_calls_keep_the_references_of_none_true_and_false():
    done = subprocess.run(
        [sys.executable, "-c", PROBE], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stderr
    moved = json.loads(done.stdout)
    assert len(moved) >= 12
    lost = {name: m for name, m in moved.items() if max(map(abs, m)) >= FEW}
    assert not lost, f"PySide6 {PySide6.__version__} on Python {sys.version.split()[0]}: {lost}"
