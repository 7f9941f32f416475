"""What `bootstrap.py` does once it runs under a supported Python: set up, start, test, measure, bundle."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

from bundle import bundle
from installing import BIN, PYTHON, ROOT, Problem, install
from system import has_display, provide, say

NAMES = ("setup", "test", "bench", "bundle")


def run(*command: str | Path, env: Mapping[str, str] | None = None) -> int:
    """The exit status of a command that talks to the terminal itself."""
    return subprocess.run(
        [str(c) for c in command], cwd=ROOT, check=False, env={**os.environ, **(env or {})}
    ).returncode


def program(name: str) -> Path:
    return BIN / (f"{name}.exe" if os.name == "nt" else name)


def setup(words: list[str]) -> int:
    install()
    provide()
    say(f"ready: start it with {program('lemmascope').relative_to(ROOT)}")
    return 0


def start(words: list[str]) -> int:
    """The window; where there is no display, the default experiment without one, in the caller's folder."""
    install()
    provide()
    qt = subprocess.run(
        [PYTHON, "-c", "import PySide6.QtWidgets"], capture_output=True, text=True, check=False
    )
    if qt.returncode:
        raise Problem(f"Qt cannot be loaded: {qt.stderr.strip().splitlines()[-1]}")
    lemmascope = str(program("lemmascope"))
    if not has_display():
        env = {**os.environ, "QT_QPA_PLATFORM": "offscreen"}
        return subprocess.run([lemmascope, "first-run"], check=False, env=env).returncode
    status = subprocess.run([lemmascope, "app"], check=False).returncode
    if (
        status == -6
    ):  # Qt aborts, with a sentence about a library, where the display does not answer
        raise Problem(
            f"Qt could not open the display {os.environ.get('WAYLAND_DISPLAY') or os.environ.get('DISPLAY')}"
        )
    return status


def test(words: list[str]) -> int:
    """Style, import contracts, types, then the suite: all of them, and the first failure's status. pytest speaks last."""
    install("test")
    provide(("xvfb", "xauth"))
    offscreen = {"QT_QPA_PLATFORM": os.environ.get("QT_QPA_PLATFORM", "offscreen")}
    failures: list[tuple[str, int]] = []
    for name, command in (
        ("style", [program("ruff"), "check", "--quiet", "."]),
        ("layout", [program("ruff"), "format", "--check", "."]),
        ("import contracts", [program("lint-imports")]),
        ("types", [program("mypy")]),
    ):
        say(f"--- {name}")
        if status := run(*command):
            failures.append((name, status))
    if failures:
        say("--- failed so far: " + ", ".join(name for name, _ in failures))
    say("--- tests")
    if status := run(PYTHON, "-m", "pytest", *words, env=offscreen):
        failures.append(("tests", status))
    return failures[0][1] if failures else 0


def bench(words: list[str]) -> int:
    install("bench")
    provide()
    return run(PYTHON, "-m", "tests.benchmarks", *words, env={"QT_QPA_PLATFORM": "offscreen"})


def main(words: list[str], page: str) -> int:
    name, rest = (words[0], words[1:]) if words else ("", [])
    if name in ("-h", "--help"):
        print(page.strip())
        return 0
    if name and name not in NAMES:
        say(f"bootstrap.py: {name} is none of {', '.join(NAMES)} (nothing starts the application)")
        return 2
    if rest and name == "setup":
        say(f"bootstrap.py: setup takes no {rest[0]}")
        return 2
    commands: dict[str, Callable[[list[str]], int]] = {
        "": start, "setup": setup, "test": test, "bench": bench, "bundle": bundle,
    }  # fmt: skip
    try:
        return commands[name](rest)
    except Problem as e:
        say(f"bootstrap.py: {e}")
        return 1
    except OSError as e:  # a folder that is not ours, a full disk
        say(f"bootstrap.py: {e.strerror or e}{f': {e.filename}' if e.filename else ''}")
        return 1
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit("start packaging/bootstrap.py instead")
