#!/usr/bin/env python3
"""Sets Lemmascope up on a fresh machine and starts it; standard library only.

    python3 packaging/bootstrap.py                 set up, then start the application
    python3 packaging/bootstrap.py setup           set up only
    python3 packaging/bootstrap.py test [--long] [pytest arguments]
    python3 packaging/bootstrap.py bench [--json]
    python3 packaging/bootstrap.py bundle

With no display the application is not started: the default experiment trains without a window and leaves a session and a picture.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
BIN = VENV / ("Scripts" if os.name == "nt" else "bin")
PYTHON = BIN / ("python.exe" if os.name == "nt" else "python")
COMMANDS = ("app", "setup", "test", "bench", "bundle")

# What Qt's libraries need of Debian and Ubuntu, and by which file one sees that it is there.
QT_PACKAGES = {
    "libglib2.0-0": "libglib-2.0.so.0",
    "libgl1": "libGL.so.1",
    "libegl1": "libEGL.so.1",
    "libxkbcommon0": "libxkbcommon.so.0",
    "libdbus-1-3": "libdbus-1.so.3",
    "libfontconfig1": "libfontconfig.so.1",
    "libxcb-cursor0": "libxcb-cursor.so.0",
    "libxcb-icccm4": "libxcb-icccm.so.4",
    "libxcb-keysyms1": "libxcb-keysyms.so.1",
    "libxcb-shape0": "libxcb-shape.so.0",
    "libxcb-xkb1": "libxcb-xkb.so.1",
    "libxcb-image0": "libxcb-image.so.0",
    "libxcb-render-util0": "libxcb-render-util.so.0",
    "libxkbcommon-x11-0": "libxkbcommon-x11.so.0",
}


class Problem(Exception):
    """Something that the person must know, in one sentence."""


def say(text: str) -> None:
    print(text, flush=True)


def run(*command: str | Path, quiet: bool = False, **kw: object) -> int:
    """The exit status; output goes to the terminal, or (quiet) is shown only where it fails."""
    words = [str(c) for c in command]
    if not quiet:
        return subprocess.run(words, cwd=ROOT, check=False, **kw).returncode  # type: ignore[call-overload,no-any-return]
    done = subprocess.run(
        words, cwd=ROOT, check=False, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    if done.returncode:
        say(done.stdout[-3000:])
    return done.returncode


def check_python() -> None:
    if not (3, 11) <= sys.version_info[:2] <= (3, 13):
        raise Problem(
            f"Python {sys.version.split()[0]} is not supported: Lemmascope needs 3.11, 3.12 or 3.13"
        )
    try:
        import ensurepip  # noqa: F401
        import venv  # noqa: F401
    except ImportError:
        raise Problem(
            "this Python has no venv module; on Debian and Ubuntu: apt-get install python3-venv"
        ) from None


def stamp(files: list[Path]) -> str:
    digest = hashlib.sha256(sys.version.encode())
    for f in [*files, ROOT / "pyproject.toml"]:
        digest.update(f.read_bytes())
    return digest.hexdigest()


def install(extra: str = "") -> None:
    """The virtual environment with what `extra` (test, bench, bundle) needs; nothing to do the second time."""
    check_python()
    if not PYTHON.exists():
        say("making .venv")
        if run(sys.executable, "-m", "venv", VENV, quiet=True):
            shutil.rmtree(VENV, ignore_errors=True)
            raise Problem("the virtual environment .venv could not be made (see above)")
    files = [ROOT / "packaging" / "requirements.txt"]
    if extra:
        files.append(ROOT / "packaging" / f"requirements-{extra}.txt")
    mark = VENV / f"installed-{extra or 'app'}"
    if mark.exists() and mark.read_text() == stamp(files):
        return
    say(
        f"installing what {extra or 'the application'} needs (torch is large: some minutes)"
    )
    command: list[str | Path] = [
        PYTHON,
        "-m",
        "pip",
        "install",
        "--quiet",
        "--disable-pip-version-check",
    ]
    for f in files:
        command += ["-r", f]
    if run(*command, quiet=True):
        free = shutil.disk_usage(ROOT).free / 1e9
        raise Problem(
            "the packages could not be installed (see above): is the network reachable, and is there room? "
            f"{free:.1f} GB are free here, about 3 GB are needed"
        )
    if run(PYTHON, "-m", "pip", "install", "--quiet", "--disable-pip-version-check",
           "--no-deps", "--no-build-isolation", "-e", ROOT, quiet=True):  # fmt: skip
        raise Problem("the project itself could not be installed (see above)")
    mark.write_text(stamp(files))


def system_libraries(more: tuple[str, ...] = ()) -> None:
    """Installs (as root, with apt-get) or names what Qt needs of the system."""
    if not sys.platform.startswith("linux"):
        return
    found = subprocess.run(
        ["/sbin/ldconfig", "-p"], capture_output=True, text=True, check=False
    ).stdout
    missing = [p for p, lib in QT_PACKAGES.items() if lib not in found]
    missing += [p for p in more if shutil.which(TOOLS[p]) is None]
    if not missing:
        return
    line = "apt-get install --yes --no-install-recommends " + " ".join(missing)
    if shutil.which("apt-get") is None:
        say("Qt may need these libraries of your system (Debian's names): " + ", ".join(missing))
        return
    if os.geteuid() != 0:
        say(f"Qt needs libraries that are not here. As root: {line}")
        return
    say(f"installing {len(missing)} system libraries that Qt needs")
    env = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    if (
        run("apt-get", "update", "-qq", quiet=True)
        or subprocess.run(line.split(), check=False, env=env, stdout=subprocess.DEVNULL).returncode
    ):
        say(f"they could not be installed; as root: {line}")


TOOLS = {"xvfb": "Xvfb", "xauth": "xauth", "binutils": "strip"}


def has_display() -> bool:
    if not sys.platform.startswith("linux"):
        return True
    return bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))


def app() -> int:
    install()
    system_libraries()
    program = BIN / ("lemmascope.exe" if os.name == "nt" else "lemmascope")
    if has_display():
        return run(program, "app")
    env = {**os.environ, "QT_QPA_PLATFORM": "offscreen"}
    return run(program, "first-run", env=env)


def test(words: list[str]) -> int:
    """Style, import contracts, types, then the suite; every part runs, the first failure's status is returned."""
    install("test")
    system_libraries(("xvfb", "xauth"))
    failures = []
    for name, command in (
        ("ruff format", ["-m", "ruff", "format", "--check", "--quiet", "."]),
        ("ruff check", ["-m", "ruff", "check", "--quiet", "."]),
        ("import contracts", ["-c", "from importlinter.cli import lint_imports_command as l; l()"]),
        ("types", ["-m", "mypy"]),
        ("tests", ["-m", "pytest", *words]),
    ):
        say(f"--- {name}")
        env = {**os.environ}
        if name == "tests":
            env.setdefault("QT_QPA_PLATFORM", "offscreen")
        if status := run(PYTHON, *command, env=env):
            failures.append((name, status))
    if failures:
        say("failed: " + ", ".join(name for name, _ in failures))
        return failures[0][1]
    return 0


def bench(words: list[str]) -> int:
    install("bench")
    return run(PYTHON, "-m", "tests.benchmarks", *words)


def bundle(words: list[str]) -> int:
    install("bundle")
    system_libraries(("binutils",))
    return run(PYTHON, ROOT / "packaging" / "bundle.py", *words)


def main(words: list[str]) -> int:
    command, rest = (words[0], words[1:]) if words else ("app", [])
    try:
        if command in ("-h", "--help"):
            say(__doc__ or "")
            return 0
        if command not in COMMANDS or (rest and command in ("app", "setup")):
            wrong = command if command not in COMMANDS else rest[0]
            print(f"bootstrap.py: {wrong} is none of {', '.join(COMMANDS)}", file=sys.stderr)
            return 2
        if command == "setup":
            install()
            system_libraries()
            say("ready: start it with .venv/bin/lemmascope")
            return 0
        if command == "app":
            return app()
        return {"test": test, "bench": bench, "bundle": bundle}[command](rest)
    except Problem as e:
        print(f"bootstrap.py: {e}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
