"""From C to a function: the compiler of this machine, in a process of its own, and what it made kept for the next time."""

from __future__ import annotations

import contextlib
import ctypes
import hashlib
import importlib.util
import logging
import os
import platform
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from functools import cache
from pathlib import Path
from typing import Any

import platformdirs

log = logging.getLogger("lemmascope")

# What may change a result: sums in another order and fused multiply-adds. NaN and infinity keep their meaning.
MATHS = ("-fno-math-errno", "-fno-trapping-math", "-fno-signed-zeros", "-fassociative-math", "-ffp-contract=fast")  # fmt: skip
# Not -O3: there GCC 12 gets loops with a condition over rows of seven or nine numbers wrong.
SPEED = ("-O2", "-ftree-vectorize", "-fvect-cost-model=dynamic", "-fpeel-loops", "-funswitch-loops")
FLAGS = (
    (*SPEED, "-march=native", "-mprefer-vector-width=512", *MATHS),
    (*SPEED, "-march=native", *MATHS),
    (*SPEED, "-mcpu=native", *MATHS),
    # Clang knows no -fvect-cost-model
    ("-O2", "-march=native", "-mprefer-vector-width=512", *MATHS),
    ("-O2", "-mcpu=native", *MATHS),
    ("-O2",),
)
KEPT = 64  # compiled steps in the cache
STALE = 3600  # seconds after which nobody builds there any more
TIMEOUT = 60.0  # seconds for one step


def folder() -> Path:
    """Where compiled steps are kept; `LEMMASCOPE_CACHE` moves it."""
    told = os.environ.get("LEMMASCOPE_CACHE")
    base = Path(told) if told else Path(platformdirs.user_cache_dir("lemmascope", appauthor=False))
    return base / "steps"


def addon() -> Path:
    """Where a compiler that was added by hand lies, also for a frozen application: the unpacked package `ziglang`."""
    base = Path(platformdirs.user_data_dir("lemmascope", appauthor=False)) / "compiler"
    return base / ("zig.exe" if os.name == "nt" else "zig")


def candidates() -> list[list[str]]:
    """Compilers by preference: the one named by `CC`, the system's, one that was added or came as a Python package."""
    out = []
    if told := os.environ.get("CC"):
        out.append(shlex.split(told))
    out += [[path] for name in ("cc", "gcc", "clang") if (path := shutil.which(name))]
    if addon().is_file():
        out.append([str(addon()), "cc"])
    if not getattr(sys, "frozen", False) and importlib.util.find_spec("ziglang") is not None:
        out.append([sys.executable, "-m", "ziglang", "cc"])
    return out


@cache
def compiler() -> tuple[str, ...]:
    """The command that compiles C on this machine, with flags that it takes; empty if there is none.

    `LEMMASCOPE_COMPILER=none` says that there is none.
    """
    if os.environ.get("LEMMASCOPE_COMPILER") == "none":
        return ()
    with tempfile.TemporaryDirectory(prefix="lemmascope-") as scratch:
        probe = Path(scratch) / "probe.c"
        probe.write_text("#include <math.h>\nfloat probe(float x) { return tanhf(x); }\n")
        for command in candidates():
            for flags in FLAGS:
                words = [*command, *flags]
                try:
                    done = subprocess.run(
                        [*words, "-shared", "-fPIC", "-o", str(probe.with_suffix(".so")), str(probe), "-lm"],
                        check=False, capture_output=True, timeout=TIMEOUT, env=os.environ | {"TMPDIR": scratch},
                    )  # fmt: skip
                except (OSError, subprocess.TimeoutExpired):
                    break
                if done.returncode == 0:
                    return tuple(words)
    return ()


@cache
def processor() -> str:
    """What `native` means here: a home that several machines share must not hand one the other's instructions."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        return next(line for line in lines if line.lower().startswith(("flags", "features")))
    except (OSError, StopIteration):
        return f"{platform.node()} {platform.processor()}"


class Build:
    """One step being compiled. `function` waits for it; a build that nobody keeps ends its compiler."""

    def __init__(self, source: str) -> None:
        words = compiler()
        key = hashlib.sha256("\0".join((*words, processor(), source)).encode()).hexdigest()
        self.path = folder() / f"{key}.so"
        self.why = "" if words else "there is no C compiler"
        self.process: Any = None
        self.begun = time.monotonic()
        if self.why or self.path.exists():
            return
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            self.scratch = tempfile.TemporaryDirectory(prefix="lemmascope-", dir=self.path.parent)
            text = Path(self.scratch.name) / "step.c"
            text.write_text(source)
            self.made = text.with_suffix(".so")
            self.process = subprocess.Popen(
                [*words, "-shared", "-fPIC", "-o", str(self.made), str(text), "-lm"],
                stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL,
                env=os.environ | {"TMPDIR": self.scratch.name},  # one that is killed leaves its files
            )  # fmt: skip
        except OSError as e:
            self.why = f"it cannot be compiled: {e.strerror or e}"

    def function(self) -> Any:
        """The compiled `run`, waited for; None, with the reason in `why`, if there is none."""
        if self.process is not None:
            self._finish()
        if self.why:
            return None
        try:
            run = ctypes.CDLL(str(self.path)).run
        except (OSError, AttributeError) as e:
            self.why = f"what was compiled cannot be loaded: {e}"
            return None
        run.restype = None
        run.argtypes = [ctypes.c_longlong] * 2 + [ctypes.c_void_p] * 6
        return run

    def _finish(self) -> None:
        process, self.process = self.process, None
        try:
            _, said = process.communicate(timeout=max(0.0, self.begun + TIMEOUT - time.monotonic()))
            if process.returncode:
                self.why = f"the compiler refused it: {said.decode(errors='replace').strip()[:300]}"
            else:
                os.replace(self.made, self.path)
                _thin()
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
            self.why = f"the compiler took more than {TIMEOUT:.0f} s"
        except OSError as e:
            self.why = f"what was compiled cannot be kept: {e.strerror or e}"
        finally:
            self.scratch.cleanup()

    def __del__(self) -> None:
        if getattr(self, "process", None) is not None:
            self.process.kill()
            self.process.communicate()
            self.scratch.cleanup()


def _thin() -> None:
    """The cache keeps what was made last. Another worker may do so at the same time: what it cannot do can wait."""
    with contextlib.suppress(OSError):
        made = sorted(folder().glob("*.so"), key=lambda p: p.stat().st_mtime)
        for old in made[:-KEPT]:
            old.unlink(missing_ok=True)
        for left in folder().glob("lemmascope-*"):  # of a process that was killed
            if time.time() - left.stat().st_mtime > STALE:
                shutil.rmtree(left, ignore_errors=True)
