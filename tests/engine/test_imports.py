"""The engine runs where there is no Qt; the desktop and what it reads load no torch."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def run(code, *blocked):
    wall = (
        "import sys, importlib.abc\n"
        "class Wall(importlib.abc.MetaPathFinder):\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        f"        if name.split('.')[0] in {blocked!r}: raise ImportError(f'{{name}} is blocked')\n"
        "sys.meta_path.insert(0, Wall())\n"
    )
    return subprocess.run(
        [sys.executable, "-c", wall + code], cwd=ROOT, capture_output=True, text=True, check=False
    )


def test_the_engine_trains_with_qt_blocked():
    done = run(
        "from engine.cli import main\n"
        "if __name__ == '__main__':\n"
        "    sys.exit(main(['run', 'kernels/ntk', '--set', 'width=32', '--steps', '3', '--seeds', '1']))",
        "PySide6", "shiboken6", "pyqtgraph", "qasync",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "done after 3 of 3 steps" in done.stdout


def test_the_service_and_sessions_load_no_torch():
    done = run(
        "import engine.client, engine.running.service, engine.sessions.saver, engine.sessions.loader, engine.cli\n"
        "assert 'torch' not in sys.modules",
        "torch",
    )
    assert done.returncode == 0, done.stderr


def test_the_wall_stands():
    done = run("import torch", "torch")
    assert done.returncode != 0 and "torch is blocked" in done.stderr
