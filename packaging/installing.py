"""The virtual environment and what is installed in it; quick where nothing is to be done."""

from __future__ import annotations

import hashlib
import importlib
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from system import apt_get, say

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
BIN = VENV / ("Scripts" if os.name == "nt" else "bin")
PYTHON = BIN / ("python.exe" if os.name == "nt" else "python")

NEEDED = 2.5  # GB free: the environment is 1.4 GB, and pip unpacks torch beside it first

# What pip's output holds when something outside of us is wrong, most telling first.
TELLING = (
    (r"No space left on device|Errno 28", "the disk is full: about 3 GB are needed"),
    (
        r"Failed to establish a new connection|name resolution|ConnectTimeout|ProxyError|SSLError|"
        r"Network is unreachable|Connection refused|Read timed out|getaddrinfo failed|ReadTimeoutError",
        "the package index could not be reached: is there a network connection?",
    ),
    (
        r"No matching distribution found for (\S+)",
        "{0} is not offered for this Python and system (64-bit, and on Linux glibc 2.34 or newer, are needed)",
    ),
)


class Problem(Exception):
    """Something that the person must know, in one sentence."""


def cause(output: str) -> str:
    """One sentence for why pip failed."""
    for pattern, sentence in TELLING:
        if found := re.search(pattern, output):
            return sentence.format(*found.groups())
    errors = [line for line in output.splitlines() if line.startswith("ERROR")]
    return errors[-1] if errors else "pip failed"


def have_venv() -> bool:
    importlib.invalidate_caches()
    try:
        import ensurepip  # noqa: F401
        import venv  # noqa: F401
    except ImportError:
        return False
    return True


def make_venv() -> None:
    if not have_venv():
        apt_get(["python3-venv"], "Python's venv module")
        if not have_venv():
            raise Problem(
                "this Python has no venv module; on Debian and Ubuntu: apt-get install python3-venv"
            )
    say(f"making {VENV.name}")
    made = subprocess.run(
        [sys.executable, "-m", "venv", "--clear", VENV],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False,
    )  # fmt: skip
    if made.returncode:
        shutil.rmtree(VENV, ignore_errors=True)
        raise Problem(f"{VENV} could not be made: {made.stdout.strip().splitlines()[-1]}")


def pip(*words: str | Path) -> None:
    """`pip install`, saying what is fetched; its whole output is kept in .venv/install.log where it fails."""
    command = [PYTHON, "-m", "pip", "install", "--disable-pip-version-check", "--no-input",
               "--progress-bar", "off", *words]  # fmt: skip
    lines = []
    with subprocess.Popen(
        [str(c) for c in command], cwd=ROOT, text=True, encoding="utf-8", errors="replace",
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    ) as process:  # fmt: skip
        assert process.stdout is not None
        for line in process.stdout:
            lines.append(line)
            if fetched := re.match(
                r" *(?:Downloading|Using cached|Processing) (?:\S*/)?(\w+)-([\d.]+\d)\S*( \(\d.*\))?",
                line,
            ):
                say("  {} {}{}".format(*fetched.groups("")))
    if not process.returncode:
        return
    log = VENV / "install.log"
    try:
        log.write_text("".join(lines), encoding="utf-8")
        where = f" (all that pip said: {log})"
    except OSError:
        where = ""
    raise Problem(cause("".join(lines)) + where)


def requirement_files(extra: str) -> list[Path]:
    names = ["requirements.txt", *([f"requirements-{extra}.txt"] if extra else [])]
    return [ROOT / "packaging" / name for name in names]


def stamp(files: list[Path]) -> str:
    """What the installation depends on: pinned versions, declared scripts, and where all of it lies."""
    digest = hashlib.sha256(str(ROOT).encode())
    for f in [*files, ROOT / "pyproject.toml"]:
        digest.update(f.read_bytes())
    return digest.hexdigest()


def install(extra: str = "") -> None:
    """The virtual environment with what `extra` ("", test, bench, bundle) needs; nothing to do the second time."""
    files = requirement_files(extra)
    mark = VENV / f"installed-{extra or 'application'}"
    if PYTHON.exists() and mark.exists() and mark.read_text() == stamp(files):
        return
    if not list(VENV.glob("installed-*")) and (free := shutil.disk_usage(ROOT).free / 1e9) < NEEDED:
        raise Problem(f"{free:.1f} GB are free here, and {NEEDED} GB are needed")
    if not PYTHON.exists():
        make_venv()
    say(f"installing what the {extra or 'application'} needs (torch is large: some minutes)")
    pip(*(word for f in files for word in ("-r", f)))
    # in place, with the setuptools just installed, so that nothing else is fetched
    pip("--no-deps", "--no-build-isolation", "-e", ROOT)
    mark.write_text(stamp(files))
