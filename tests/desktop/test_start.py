"""The desktop's process holds no torch, and a machine without a display gets a sentence."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]

BLOCKED = """
import sys
class Block:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] == "torch":
            raise ImportError("torch is blocked")
sys.meta_path.insert(0, Block())
"""


def run(code, **environment):
    env = {
        k: v
        for k, v in os.environ.items()
        if k not in ("DISPLAY", "WAYLAND_DISPLAY", "QT_QPA_PLATFORM")
    }
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, env=env | environment, timeout=120,
        check=False,
    )  # fmt: skip


def test_every_module_of_the_desktop_loads_with_torch_blocked():
    modules = [
        ".".join(p.relative_to(ROOT).with_suffix("").parts) for p in (ROOT / "desktop").rglob("*.py") if p.stem != "__init__"
    ]  # fmt: skip
    code = BLOCKED + f"import importlib\nfor m in {sorted(modules)!r}: importlib.import_module(m)\n"
    code += "import engine.running.service\nassert 'torch' not in sys.modules\nprint('fine')"
    done = run(code, QT_QPA_PLATFORM="offscreen")
    assert done.stdout.strip() == "fine", done.stderr


def test_a_window_opens_with_torch_blocked(tmp_path):
    code = BLOCKED + (
        "from desktop import app\nfrom tests.desktop import fake\n"
        f"app.picture({str(tmp_path / 'p.png')!r}, [fake.catalogue(), *fake.stream('a')])\n"
        "assert 'torch' not in sys.modules\nprint('fine')"
    )
    done = run(code, QT_QPA_PLATFORM="offscreen")
    assert done.stdout.strip().endswith("fine"), done.stderr
    assert (tmp_path / "p.png").stat().st_size > 10_000


def test_without_a_display_there_is_one_sentence_and_no_abort():
    done = run("from desktop.app import main\nraise SystemExit(main([]))")
    assert done.returncode == 2
    lines = done.stderr.strip().splitlines()
    assert len(lines) == 1
    assert "no display" in lines[0] and "lemmascope run" in lines[0]


def test_a_picture_needs_no_display(tmp_path):
    code = (
        "from desktop import headless\nfrom tests.desktop import fake\n"
        f"headless.picture({str(tmp_path / 'p.png')!r}, [fake.catalogue(), *fake.stream('a')])\n"
        f"headless.export(fake.stream('a'), fake.card(), {str(tmp_path / 'p.csv')!r})\n"
    )
    done = run(code)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "p.png").stat().st_size > 10_000
    assert "sharpness" in (tmp_path / "p.csv").read_text(encoding="utf-8")


def test_a_file_that_is_not_there_is_said_before_a_window_opens():
    done = run(
        "from desktop.app import main\nraise SystemExit(main(['/no/such.lemma.h5']))",
        QT_QPA_PLATFORM="offscreen",
    )
    assert done.returncode == 2
    assert done.stderr.strip() == "lemmascope: there is no file /no/such.lemma.h5"
