"""The application's own state folder, and the journals of living and dead processes in it.

`<state>/journals/<process>/` is one process's, as long as it lives: a `lock`, and for each run a folder with a journal
for each stack, which the worker that trains it writes, and `past.journal`: what the run knew before it was trained here (`past.….journal`,
if it was written again: the one before goes when that is safe).
Whoever opens what a dead one left holds a `lock` in the run's folder.
"""

from __future__ import annotations

import contextlib
import os
import time
import uuid
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import numpy as np
import platformdirs

from engine.messages import Array, Changed, Checkpoint, Message, Rows, Started, Status
from engine.sessions import disk, journal
from engine.sessions.journal import Orphan
from engine.sessions.lock import Held, Lock, is_free

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
        for again in reversed(range(5)):
            self.own = self.root / f"{os.getpid()}-{uuid.uuid4().hex[:8]}"
            self.own.mkdir(mode=0o700)
            try:
                self.lock = Lock(self.own / LOCK)
                return
            except (Held, FileNotFoundError):  # who looks for orphans just now took it for one
                if not again:
                    raise

    def of(self, run: str) -> str:
        """A run's folder, which is there then."""
        place = self.own / run
        place.mkdir(exist_ok=True, mode=0o700)
        return str(place)

    def remember(self, run: str, messages: Iterable[Message]) -> None:
        """What a run knows that is to be trained on. Raises OSError."""
        where = self.of(run)
        old = [os.path.join(where, name) for name in disk.names(where) if _is_past(name)]
        name = f"{PAST}.{uuid.uuid4().hex[:8]}" if old else PAST
        place = os.path.join(where, name + journal.SUFFIX)
        try:
            with journal.Writer(place) as writer:
                for m in messages:
                    writer.append(m)
            settle(where)
        except OSError:
            with contextlib.suppress(OSError):
                journal.discard(place)
            raise
        for path in old:  # not before: it may be all that there is
            journal.discard(path)

    def set_aside(self, run: str) -> str:
        """The folder, to be discarded, of a run that is safe elsewhere; what it measures from here on has a new one.

        Empty if there is none.
        """
        aside = self.own / f"{run}.{uuid.uuid4().hex[:8]}"
        try:
            os.rename(self.own / run, aside)
        except FileNotFoundError:
            return ""
        return str(aside)

    def forget(self, run: str) -> None:
        """A run that is safe elsewhere, or not wanted."""
        discard(self.set_aside(run))

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


def _is_past(name: str) -> bool:
    return name.startswith(PAST + ".") and name.endswith(journal.SUFFIX)


def settle(run_folder: str) -> None:
    """Returns once the run's folder itself would survive a power cut. Raises OSError."""
    process = os.path.dirname(run_folder)
    disk.sync_folder(process)
    disk.sync_folder(os.path.dirname(process))


def stack_journal(run_folder: str, first: int) -> str:
    """The journal of the stack that begins at member `first`."""
    return os.path.join(run_folder, f"{first}{journal.SUFFIX}")


def discard(run_folder: str | os.PathLike[str]) -> None:
    """Removes a run's journals: only once it is saved, or not wanted."""
    where = os.fspath(run_folder)
    if not os.path.isdir(where):
        return
    for entry in sorted(disk.names(where)):
        if entry == LOCK or entry.endswith((journal.SUFFIX, ".checkpoint", ".checkpoint.tmp")):
            disk.remove(os.path.join(where, entry))
    disk.sync_folder(where)
    with contextlib.suppress(OSError):
        os.rmdir(where)
        _sweep(os.path.dirname(where))


class Left:
    """What a crash left of a run, held: to other processes it is not on offer meanwhile.

    Raises Held if one of them holds it. Where nothing can be written there is no lock, and nothing to lose.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self.lock: Lock | None = None
        for again in reversed(range(5)):
            try:
                self.lock = Lock(os.path.join(path, LOCK))
                return
            except Held:  # perhaps by who looks just now whether it is free
                if not again:
                    raise
                time.sleep(0.02)
            except OSError:
                return

    def release(self) -> None:
        if self.lock is not None:
            self.lock.release()

    def discard(self) -> None:
        """It is safe elsewhere, or not wanted."""
        if os.name == "nt":
            self.release()  # what is open cannot be removed there
        try:
            discard(self.path)
        finally:
            self.release()


def _sweep(process_folder: str) -> None:
    """A dead process's folder goes with its last run."""
    if set(disk.names(process_folder)) - {LOCK}:
        return
    try:
        mine = Lock(os.path.join(process_folder, LOCK))  # so that it becomes nobody's meanwhile
    except Held:
        return
    empty = set(disk.names(process_folder)) <= {LOCK}
    mine.release(remove=empty)
    if empty:
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
        for name in sorted(disk.names(where), key=lambda n: (not _is_past(n), n))
        if name.endswith(journal.SUFFIX)
    }
    begun = [m for part in parts.values() for m in part if isinstance(m, Started)]
    if not begun:
        raise ValueError("what was left of this run does not say which it was")
    started, run = begun[-1], begun[-1].run
    out: list[Message] = [started, *_course(parts.values(), run)]
    ends = [e for first in started.stacks for e in _end(parts.get(str(first), ()))]
    if len(ends) == len(started.stacks):
        out.append(_together(ends))
    return out


def _course(parts: Iterable[Iterable[Message]], run: str) -> list[Message]:
    """Each stack's changes in order, then what was measured.

    Behind each Started a job says all the changes that it knows of again, if it came so far. One that is new makes what
    was measured behind its step another course.
    """
    found: dict[int, list[Changed]] = {}
    rest: list[Message] = []
    reached: dict[int, int] = {}
    for part in parts:
        said: dict[int, list[Changed]] = {}
        for m in part:
            if isinstance(m, Started):
                said = {}
            elif getattr(m, "run", "") != run or isinstance(m, Status):
                continue
            elif isinstance(m, Changed):
                now = said.setdefault(m.first, [])
                now[:] = [c for c in now if c.step <= m.step]
                same = (c.step == m.step and c.knob == m.knob for c in now)
                place = next((i for i, s in enumerate(same) if s), len(now))
                now[place : place + 1] = [m]  # one value for a knob and a step, as a run has it
                before = found.get(m.first, [])
                if before is now or before[place : place + 1] != [m]:
                    found[m.first] = now
                    if reached.get(m.first, 0) > m.step:
                        rest = [o for r in rest for o in _before(r, m)]
                        reached[m.first] = m.step
            else:
                rest.append(m)
                if (step := _last(m)) > reached.get(getattr(m, "first", 0), 0):
                    reached[getattr(m, "first", 0)] = step
    return [*(c for first in sorted(found) for c in found[first]), *rest]


def _last(m: Message) -> int:
    if isinstance(m, Rows):
        return int(m.steps.max(initial=0))
    return m.step if isinstance(m, Checkpoint) else 0


def _before(m: Message, change: Changed) -> list[Message]:
    """What a change leaves of a message that was there before it."""
    if getattr(m, "first", None) != change.first or _last(m) <= change.step:
        return [m]
    if isinstance(m, Rows) and (keep := m.steps <= change.step).any():
        return [replace(m, steps=m.steps[keep], values=m.values[keep])]
    return []


def _end(part: Iterable[Message]) -> list[Status]:
    """How a stack ended, unless it has gone on since."""
    end: list[Status] = []
    for m in part:
        if isinstance(m, Started):
            end = []
        elif isinstance(m, Status):
            end = [m] if m.state in FINAL else []
    return end


def _together(ends: list[Status]) -> Status:
    """The end of a run from those of its stacks, as the service says it."""
    tiers: dict[str, int] = {}
    for m in ends:
        for k, v in m.tiers.items():
            tiers[k] = tiers.get(k, 0) + v
    return replace(
        min(ends, key=lambda m: FINAL.index(m.state)),
        step=min(m.step for m in ends),
        why="; ".join(dict.fromkeys(m.why for m in ends if m.why)),
        tiers=tiers,
    )


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
                with contextlib.suppress(OSError):
                    out += _orphan(run)
            _sweep(str(process))
    return sorted(out, key=lambda o: -o.last)


def _orphan(run: Path) -> list[Orphan]:
    files = list(run.glob("*" + journal.SUFFIX))
    if not is_free(str(run / LOCK)):
        return []  # somebody has opened it
    if any(journal.is_held(str(f)) for f in files):
        return []  # its worker still writes its last words
    try:
        messages = recover(run)
    except ValueError:  # not even which experiment it was
        if not any(r.kind != b"h" for f in files for r in journal.records(disk.read_all(str(f)))):
            discard(run)  # nothing was ever kept here; else a newer version may know more
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
