"""The application's own state folder, and the journals of living and dead processes in it.

`<state>/journals/<process>/` is one process's, as long as it lives: a `lock`, and for each run a folder with a journal
for each stack, which the worker that trains it writes, and `past.journal`: what the run knew before it was trained here.
"""

from __future__ import annotations

import contextlib
import os
import time
import uuid
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import platformdirs

from engine.messages import Array, Changed, Message, Rows, Started, Status
from engine.sessions import disk, journal
from engine.sessions.journal import Orphan
from engine.sessions.lock import Lock, is_free

PAST = "past"
LOCK = "lock"
POINTS = 64  # of a preview
FRESH = 60  # seconds for which a folder without a lock may still be about to get one
FINAL = ("failed", "cancelled", "stopped", "done")  # states that a stack does not leave by itself


def folder() -> Path:
    """Where journals and the log lie; `LEMMASCOPE_STATE` moves it."""
    told = os.environ.get("LEMMASCOPE_STATE")
    return Path(told) if told else Path(platformdirs.user_state_dir("lemmascope", appauthor=False))


class Journals:
    """This process's journals. Raises OSError where there can be none."""

    def __init__(self, root: Path | None = None) -> None:
        self.root = (root or folder()) / "journals"
        self.root.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.own = self.root / f"{os.getpid()}-{uuid.uuid4().hex[:8]}"
        self.own.mkdir(mode=0o700)
        self.lock = Lock(self.own / LOCK)

    def of(self, run: str) -> str:
        """A run's folder, which is there then."""
        place = self.own / run
        place.mkdir(exist_ok=True, mode=0o700)
        return str(place)

    def remember(self, run: str, messages: Iterable[Message]) -> None:
        """What a run knows that is to be trained on. Raises OSError."""
        place = os.path.join(self.of(run), PAST + journal.SUFFIX)
        disk.remove(place)
        with journal.Writer(place) as writer:
            for m in messages:
                writer.append(m)

    def forget(self, run: str) -> None:
        """A run that is safe elsewhere, or not wanted."""
        discard(self.own / run)

    def close(self, discard_all: bool) -> None:
        """Lets go. What is not discarded is an orphan from here on."""
        if discard_all:
            with contextlib.suppress(OSError):
                for entry in os.scandir(self.own):
                    if entry.is_dir(follow_symlinks=False):
                        discard(entry.path)
        left = set(disk.names(str(self.own))) - {LOCK}
        self.lock.release(remove=not left)  # a free one says that what is left is nobody's
        if not left:
            with contextlib.suppress(OSError):
                self.own.rmdir()


def stack_journal(run_folder: str, first: int) -> str:
    """The journal of the stack that begins at member `first`."""
    return os.path.join(run_folder, f"{first}{journal.SUFFIX}")


def discard(run_folder: str | os.PathLike[str]) -> None:
    """Removes a run's journals: only once it is saved, or not wanted."""
    where = os.fspath(run_folder)
    if not os.path.isdir(where):
        return
    for entry in sorted(disk.names(where)):
        if entry.endswith((journal.SUFFIX, ".checkpoint", ".checkpoint.tmp")):
            disk.remove(os.path.join(where, entry))
    disk.sync_folder(where)
    with contextlib.suppress(OSError):
        os.rmdir(where)
        _sweep(os.path.dirname(where))


def _sweep(process_folder: str) -> None:
    """A dead process's folder goes with its last run."""
    lock = os.path.join(process_folder, LOCK)
    if is_free(lock) and set(disk.names(process_folder)) <= {LOCK}:
        disk.remove(lock)
        os.rmdir(process_folder)


def is_run(path: str | os.PathLike[str]) -> bool:
    """Whether an `Orphaned` may have named this: a run's folder of a process that is gone."""
    where = Path(path)
    return where.is_dir() and any(where.glob("*" + journal.SUFFIX))


def recover(run_folder: str | os.PathLike[str]) -> list[Message]:
    """One run's messages out of its journals, in an order that `runs.replayed` and `saver.save` take.

    It has a last Status only if every stack had come to its end. Raises ValueError if nothing says which run it is.
    """
    where = os.fspath(run_folder)
    parts = {
        name.removesuffix(journal.SUFFIX): journal.recover(os.path.join(where, name))
        for name in sorted(disk.names(where), key=lambda n: (n != PAST + journal.SUFFIX, n))
        if name.endswith(journal.SUFFIX)
    }
    begun = [m for part in parts.values() for m in part if isinstance(m, Started)]
    if not begun:
        raise ValueError("what was left of this run does not say which it was")
    started, run = begun[-1], begun[-1].run
    out: list[Message] = [started]
    for part in parts.values():
        for m in part:
            again = isinstance(m, Changed) and any(_equal(m, o) for o in out)
            if getattr(m, "run", "") == run and not isinstance(m, (Started, Status)) and not again:
                out.append(m)
    ends = []
    for first in started.stacks:
        said = [m for m in parts.get(str(first), []) if isinstance(m, Status)]
        ends += [said[-1]] if said and said[-1].state in FINAL else []
    if len(ends) == len(started.stacks):
        out.append(min(ends, key=lambda m: FINAL.index(m.state)))
    return out


def _equal(change: Changed, other: Message) -> bool:
    return isinstance(other, Changed) and change == other


def orphans(root: Path | None = None) -> list[Orphan]:
    """The runs that dead processes left, the latest first. What cannot be read is left where it is."""
    place = (root or folder()) / "journals"
    out: list[Orphan] = []
    for process in sorted(place.glob("*-*")) if place.is_dir() else ():
        with contextlib.suppress(OSError):
            if not is_free(str(process / LOCK)):
                continue
            if not (process / LOCK).exists() and time.time() - process.stat().st_mtime < FRESH:
                continue
            for run in sorted(p for p in process.iterdir() if p.is_dir()):
                out += _orphan(run)
            _sweep(str(process))
    return sorted(out, key=lambda o: -o.last)


def _orphan(run: Path) -> list[Orphan]:
    files = list(run.glob("*" + journal.SUFFIX))
    if any(journal.is_held(str(f)) for f in files):
        return []  # its worker still writes its last words
    try:
        messages = recover(run)
    except ValueError:
        discard(run)  # not even which experiment it was
        return []
    started = messages[0]
    assert isinstance(started, Started)
    steps = [int(m.steps[-1]) for m in messages if isinstance(m, Rows) and len(m.steps)]
    last = max(os.stat(f).st_mtime for f in files)
    return [Orphan(str(run), started.experiment, max(steps, default=0), last, _preview(messages))]


def _preview(messages: Iterable[Message]) -> Array | None:
    """The first scalar metric of the first stack, thinned: what a person knows the run by."""
    rows = [m for m in messages if isinstance(m, Rows) and m.values.ndim == 2 and len(m.steps)]
    same = [m for m in rows if (m.metric, m.first) == (rows[0].metric, rows[0].first)]
    if not same:
        return None
    steps = np.concatenate([m.steps for m in same]).astype(np.float64)
    with np.errstate(all="ignore"):
        means = np.concatenate([m.values.mean(1) for m in same]).astype(np.float64)
    order = np.argsort(steps, kind="stable")[np.isfinite(means[np.argsort(steps, kind="stable")])]
    keep = (
        order[np.unique(np.linspace(0, len(order) - 1, POINTS).round().astype(int))]
        if len(order)
        else order
    )
    return np.stack([steps[keep], means[keep]])
