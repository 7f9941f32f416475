"""Real processes on a real disk: killed at chosen operations, killed at random, out of space, without rights.

    python -m tests.reliability.kills points | random COUNT | full FOLDER | denied FOLDER

A clean process forks each victim; a line of JSON for each goes to stdout.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from engine.encoding import encode
from engine.messages import Rows
from engine.sessions import disk, journal, saver
from engine.sessions.session import read
from engine.sessions.writing import image
from tests.engine.sessions.streams import plain_run

CHANGES = (
    "open", "write", "fsync", "fdatasync", "ftruncate", "link", "replace", "unlink", "fchmod", "close",
)  # fmt: skip


class KillAt:
    """`os`, with this process killed at its n-th operation; a write has written half by then."""

    def __init__(self, number: int) -> None:
        self.left = number

    def __getattr__(self, name: str) -> Any:
        real = getattr(os, name)
        if name not in CHANGES:
            return real

        def call(*args: Any, **kw: Any) -> Any:
            self.left -= 1
            if self.left < 0:
                if name == "write":
                    os.write(args[0], args[1][: len(args[1]) // 2])
                os.kill(os.getpid(), signal.SIGKILL)
            return real(*args, **kw)

        return call


def forked(victim: Callable[[], Any]) -> int:
    """Runs in a fork; its exit code, or minus the signal that ended it."""
    pid = os.fork()
    if pid == 0:
        try:
            victim()
            os._exit(0)
        except BaseException as e:
            print(json.dumps({"error": f"{type(e).__name__}: {e}"}), flush=True)
            os._exit(1)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def rows(i: int) -> Rows:
    return Rows("r", "loss", 0, np.arange(4 * i, 4 * i + 4), np.full((4, 30), float(i)))


def points() -> Iterator[dict[str, Any]]:
    """A journal of 20 messages, a save over an older session, and the journal's end, killed at each operation."""
    old = image([plain_run(steps=3)], notes="old")
    new = image([plain_run(steps=5)], notes="new")
    for n in range(1000):
        with tempfile.TemporaryDirectory() as folder:
            target, path = f"{folder}/s.h5", f"{folder}/state/r.journal"
            os.mkdir(f"{folder}/state")
            Path(target).write_bytes(old)
            acked = f"{folder}/state/acked"

            def victim(n=n, target=target, path=path, acked=acked) -> None:
                told = os.open(acked, os.O_WRONLY | os.O_CREAT)
                disk.os = KillAt(n)
                with journal.Writer(path) as w:
                    for i in range(20):
                        w.append(rows(i))
                        os.write(told, b".")
                        if i % 5 == 4:
                            w.sync()
                saver.commit(target, f"{target}.tmp", new, lambda p: read(p) and None)
                os.write(told, b"s")
                journal.discard(path)

            code = forked(victim)
            said = Path(acked).read_bytes()
            got = [encode(m) for m in journal.recover(path)] if os.path.exists(path) else []
            known = {encode(rows(i)): i for i in range(20)}
            held = Path(target).read_bytes()
            yield {
                "n": n,
                "code": code,
                "acked": said.count(b"."),
                "recovered": [known.get(b, -1) for b in got],
                "session": "old" if held == old else "new" if held == new else "third",
                "saved": b"s" in said,
                "journal": os.path.exists(path),
                "free": _free(path),
            }
            if code == 0:
                return


def _free(path: str) -> bool:
    """Whether the journal's lock went with its holder."""
    if not os.path.exists(path):
        return True
    with journal.Writer(path):
        return True


def at_random(count: int) -> Iterator[dict[str, Any]]:
    """A journal written without pause, its process killed after a random time."""
    rng = np.random.default_rng(11)
    for _ in range(count):
        with tempfile.TemporaryDirectory() as folder:
            path = f"{folder}/r.journal"
            mine, theirs = os.pipe()
            pid = os.fork()
            if pid == 0:
                w = journal.Writer(path)
                for i in range(1_000_000):
                    w.append(rows(i))
                    os.write(theirs, b".")
                    w.tick()
            os.close(theirs)
            acked = len(os.read(mine, 1))
            time.sleep(float(rng.uniform(0, 0.03)))
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            while part := os.read(mine, 1 << 16):
                acked += len(part)
            os.close(mine)
            got = [encode(m) for m in journal.recover(path)]
            right = got == [encode(rows(i)) for i in range(len(got))]
            yield {"acked": acked, "recovered": len(got), "right": right}


def full(folder: str) -> Iterator[dict[str, Any]]:
    """On a small disk: sessions until one does not fit, then a journal until it is full."""
    saved = []
    for i in range(9):
        try:
            saver.save(f"{folder}/s.h5", [plain_run(steps=12_000, seed=i)], f"note {i}")
            saved.append(i)
        except saver.SaveFailed as e:
            yield {"saved": saved, "why": str(e), "held": read(f"{folder}/s.h5").notes,
                   "files": sorted(os.listdir(folder))}  # fmt: skip
            break

    def unforeseen() -> None:
        """The same when the disk said that there was room."""
        room = saver.shutil.disk_usage(folder)._replace(free=1 << 40)
        saver.shutil.disk_usage = lambda f: room
        run = [plain_run(steps=12_000, seed=9)]
        try:
            saver.write(f"{folder}/s.h5", f"{folder}/t.tmp", run, "", "", {}, False)
        except saver.SaveFailed as e:
            os.write(theirs, str(e).encode())

    mine, theirs = os.pipe()
    code = forked(unforeseen)
    os.close(theirs)
    yield {
        "code": code,
        "why": os.read(mine, 1000).decode(),
        "held": read(f"{folder}/s.h5").notes,
        "files": sorted(os.listdir(folder)),
    }
    os.unlink(f"{folder}/s.h5.bak")
    count, why = 0, ""
    with journal.Writer(f"{folder}/r.journal") as w:
        while not why:
            try:
                w.append(rows(count))
                w.tick()
                count += 1
            except journal.JournalFull as e:
                why = str(e)
        w.sync()
        os.unlink(f"{folder}/s.h5")  # room again
        w.append(rows(count))
    got = [encode(m) for m in journal.recover(f"{folder}/r.journal")]
    yield {"why": why, "count": count, "right": got == [encode(rows(i)) for i in range(count + 1)]}


def denied(folder: str) -> Iterator[dict[str, Any]]:
    """Where nothing may be written: a save and a journal."""
    why = []
    for attempt in (
        lambda: saver.commit(f"{folder}/s.h5", f"{folder}/s.tmp", b"x", lambda p: None),
        lambda: journal.Writer(f"{folder}/r.journal"),
    ):
        try:
            attempt()
        except OSError as e:
            why.append(str(e))
    yield {"why": why, "files": sorted(os.listdir(folder)), "user": os.geteuid()}


def main(what: str, *rest: str) -> None:
    if what == "points":
        results = points()
    elif what == "random":
        results = at_random(int(rest[0]))
    elif what == "full":
        results = full(rest[0])
    else:
        if len(rest) > 1:
            os.seteuid(int(rest[1]))
        results = denied(rest[0])
    for result in results:
        print(json.dumps(result), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
