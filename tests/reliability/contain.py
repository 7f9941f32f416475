"""Reads files, or mutants of a sound session, one forked process each, and says how each of them ended.

    python -m tests.reliability.contain mutants 20000 7
    python -m tests.reliability.contain files FILE...

One clean process (no torch, no Qt, no threads) has everything imported and forks a reader for each file, with the
limits that `loader` sets. A line of JSON for each goes to stdout: {"name", "how", "text", "seconds", "events"}.
how: read, refused (a BadSession), same or differs (a mutant that was read), error (another exception), signal, late.
"""

from __future__ import annotations

import gc
import json
import os
import resource
import select
import signal
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from typing import Any, NoReturn

os.environ["HDF5_PLUGIN_PRELOAD"] = "::"
for name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS"):
    os.environ[name] = "1"

import numpy as np  # noqa: E402
from h5py import h5f  # noqa: E402

from engine.encoding import encode  # noqa: E402
from engine.sessions import child, loader, writing  # noqa: E402
from engine.sessions.session import BadSession, Session, read  # noqa: E402
from tests.engine.sessions.streams import plain_run  # noqa: E402

HARMLESS = {"os.stat", "object.__getattr__", "object.__setattr__", "sys._getframe", "builtins.id"}


watched: list[tuple[str, set[str]]] = []  # the file being read, and what reading it did besides


def hook(event: str, args: Any) -> None:
    if not watched or event in HARMLESS:
        return
    path, events = watched[-1]
    if event != "open" or args[0] != path:
        events.add(f"{event} {args[0] if args else ''}"[:200])


def flat(session: Session) -> list[bytes]:
    """All of a session's content, to the bit."""
    texts = [session.notes, session.layout, *session.cards]
    return [t.encode() for t in texts] + [encode(m) for run in session.runs for m in run]


Job = tuple[str, list[bytes] | None]  # a file, and what reading it should give


def look(path: str, want: list[bytes] | None) -> dict[str, Any]:
    """Runs in the forked reader."""
    events: set[str] = set()
    watched.append((path, events))
    try:
        got = read(path)
        how = "read" if want is None else "same" if flat(got) == want else "differs"
        text = got.notice
    except BadSession as e:
        how, text = "refused", str(e)
    except BaseException as e:
        how, text = "error", f"{type(e).__name__}: {e}"
    watched.clear()
    return {"how": how, "text": text, "events": sorted(events)}


def contained(jobs: Sequence[Job]) -> Iterator[dict[str, Any]]:
    """How reading each file ended. One fork reads file after file; if it ends or hangs at one, another goes on."""
    done = 0
    while done < len(jobs):
        mine, theirs = os.pipe()
        pid = os.fork()
        if pid == 0:
            os.close(mine)
            _reader(jobs[done:], theirs)
        os.close(theirs)
        late, held = False, b""
        while done < len(jobs):
            began = time.monotonic()
            while b"\n" not in held:
                ready, _, _ = select.select([mine], [], [], loader.SECONDS)
                late = not ready
                if late or not (part := os.read(mine, 1 << 16)):
                    break
                held += part
            if b"\n" not in held:
                break
            line, _, held = held.partition(b"\n")
            yield json.loads(line) | {"seconds": time.monotonic() - began}
            done += 1
        os.close(mine)
        if late:
            os.kill(pid, signal.SIGKILL)
        _, status = os.waitpid(pid, 0)
        if done < len(jobs):
            how = "late" if late else "signal" if os.WIFSIGNALED(status) else "error"
            number = str(os.WTERMSIG(status)) if how == "signal" else ""
            yield {"how": how, "text": number, "events": [], "seconds": time.monotonic() - began}
            done += 1


def _reader(jobs: Sequence[Job], out: int) -> NoReturn:
    gc.disable()  # collecting would copy every page that the fork shares
    child.confine(loader.MEMORY, loader.SECONDS)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
    try:
        for path, want in jobs:
            os.write(out, json.dumps(look(path, want)).encode() + b"\n")
    finally:
        os._exit(0)


# --- mutants ---

BATCH = 25  # mutants that one fork reads
INTERESTING = [0, 1, 7, 8, 255, 65_535, 2**31 - 1, 2**32 - 1, 2**63 - 1, 2**64 - 1, 2**40]


def templates() -> list[tuple[str, bytes]]:
    """A small session as it is saved, and the same in the old format, which has no checksums in front of its parser."""
    run = [m for m in plain_run(steps=3) if getattr(m, "first", 0) == 0]
    new = writing.image([run], notes="a note")
    before = writing.BOUNDS
    writing.BOUNDS = (h5f.LIBVER_EARLIEST, h5f.LIBVER_V110)
    old = writing.image([run], notes="a note")
    writing.BOUNDS = before
    return [("new", new), ("old", old)]


def mutated(blob: bytes, rng: np.random.Generator) -> bytes:
    out = bytearray(blob)
    for _ in range(1 + int(rng.geometric(0.5))):
        at = int(rng.integers(0, len(out)))
        size = int(rng.choice([1, 2, 4, 8, 16, 64, 512]))
        match rng.choice(
            ["flip", "flip", "byte", "number", "number", "zeros", "noise", "move", "cut"]
        ):
            case "flip":
                out[at] ^= 1 << int(rng.integers(0, 8))
            case "byte":
                out[at] = int(rng.integers(0, 256))
            case "number":
                width = int(rng.choice([2, 4, 8]))
                number = int(rng.choice(np.array(INTERESTING, object))) % (1 << 8 * width)
                if rng.random() < 0.3:
                    number = int(rng.integers(0, len(out)))  # an address within the file
                out[at : at + width] = (number % (1 << 8 * width)).to_bytes(width, "little")
            case "zeros":
                out[at : at + size] = bytes(size)
            case "noise":
                out[at : at + size] = rng.bytes(size)
            case "move":
                other = int(rng.integers(0, len(out)))
                out[at : at + size] = out[other : other + size]
            case "cut":
                if rng.random() < 0.2:
                    del out[at:]
        if not out:
            break
    return bytes(out)


def mutants(count: int, seed: int) -> Iterator[dict[str, Any]]:
    made = templates()
    gc.freeze()
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "m.h5")
        wants = {}
        for name, blob in made:
            with open(path, "wb") as f:
                f.write(blob)
            wants[name] = flat(read(path))
        for begin in range(0, count, BATCH):
            jobs, about = [], []
            for i in range(begin, min(begin + BATCH, count)):
                name, blob = made[i % len(made)]
                mutant = mutated(blob, np.random.default_rng([seed, i]))
                path = os.path.join(folder, f"{i % BATCH}.h5")
                with open(path, "wb") as f:
                    f.write(mutant)
                jobs.append((path, wants[name]))
                about.append({"name": f"{name} {i}", "changed": mutant != blob})
            for result, more in zip(contained(jobs), about, strict=True):
                yield result | more


def main(what: str, *rest: str) -> None:
    sys.addaudithook(hook)
    if what == "mutants":
        results: Iterator[dict[str, Any]] = mutants(int(rest[0]), int(rest[1]))
    else:
        with (
            tempfile.TemporaryDirectory() as folder
        ):  # the first reading imports and warms up what it needs
            path = os.path.join(folder, "w.h5")
            with open(path, "wb") as f:
                f.write(writing.image([plain_run()], notes="x" * 20_000))
            read(path)
        jobs = [(path, None) for path in rest]
        results = (r | {"name": p} for r, p in zip(contained(jobs), rest, strict=True))
    for result in results:
        print(json.dumps(result))
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    own = resource.getrusage(resource.RUSAGE_SELF)
    print(
        f"{used.ru_utime + used.ru_stime + own.ru_utime + own.ru_stime:.1f} s of CPU, "
        f"{used.ru_maxrss // 1024} MB at most",
        file=sys.stderr,
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
