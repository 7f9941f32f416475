"""Journals and the state folder against a plain model: any order of writing, dying, damage and coming back."""

from __future__ import annotations

import itertools
import os
import shutil
import tempfile
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)

from engine.encoding import encode
from engine.messages import Checkpoint, Rows, Started, Status
from engine.sessions import journal, state
from tests.engine.sessions.streams import plain_run

BEGUN = plain_run("a")[0]
STACKS = (0, 2)
ENDS = ("paused", "done", "stopped", "failed", "cancelled")
MANY = 1 << 16
PLACES = st.integers(0, MANY)  # of a file, in parts: what is drawn must not hang on lengths
BIG = 4000  # bytes from which on a checkpoint has a file of its own, here


def begun(run):
    members = {"seed": np.arange(4)}
    return Started(**{**vars(BEGUN), "run": run, "stacks": STACKS, "members": members})


def message(run, first, kind, n):
    match kind:
        case "rows":
            return Rows(run, "loss", first, np.arange(n, n + 40), np.full((40, 2), float(n)))
        case "checkpoint":
            return Checkpoint(run, n, first, {"params/W": np.full((2, 3), float(n))})
        case "large":
            return Checkpoint(run, n, first, {"params/W": np.full((2, BIG), float(n))})
        case "started":
            return begun(run)
    return Status(run, kind, n)


@dataclass
class Kept:
    """One journal, as it ought to be: records in order, `None` for what holds no message."""

    path: Path
    messages: list = field(default_factory=list)
    spans: list = field(default_factory=list)  # bytes of each record
    beside: list = field(default_factory=list)  # the file that a record speaks of, or ""
    synced: int = 0  # records that a power cut cannot take
    writer: journal.Writer | None = None

    def took(self, what, since):
        number = self.writer.next - 1
        name = f"{self.path}.{number}.checkpoint"
        self.messages.append(what)
        self.spans.append((since, self.writer.end))
        self.beside.append(name if isinstance(what, Checkpoint) and len(encode(what)) > BIG else "")

    def open(self):
        self.writer = journal.Writer(self.path)
        # what was torn behind the last whole record has been cut off
        while self.spans and self.spans[-1] is None:
            for column in (self.messages, self.spans, self.beside):
                column.pop()
        self.took(None, self.spans[-1][1] if self.spans else 0)
        self.synced = len(self.spans)

    def lose(self, touched):
        for i in touched:
            self.spans[i] = self.messages[i] = None

    def read(self):
        return [m for m in self.messages if m is not None]


@dataclass
class Process:
    journals: state.Journals
    runs: dict = field(default_factory=dict)  # run -> {name: Kept}
    alive: bool = True

    def kept(self):
        return [k for parts in self.runs.values() for k in parts.values()]


def merged(run, parts):
    """What `state.recover` is to give, from the messages of each journal; None if it cannot say which run it was."""
    order = sorted(parts, key=lambda n: (n != state.PAST, f"{n}.journal"))
    everything = [m for n in order for m in parts[n].read()]
    started = [m for m in everything if isinstance(m, Started)]
    if not started:
        return None
    out = [started[-1], *(m for m in everything if not isinstance(m, (Started, Status)))]
    words = [
        [m for m in parts[str(f)].read() if isinstance(m, (Started, Status))]
        for f in STACKS
        if str(f) in parts
    ]  # a stack that was begun again after its end has none
    ends = [w[-1] for w in words if w and getattr(w[-1], "state", "") in state.FINAL]
    if len(ends) == len(STACKS):
        worst = min(ends, key=lambda m: state.FINAL.index(m.state))
        out.append(replace(worst, step=min(m.step for m in ends)))
    return out


class StateFolder(RuleBasedStateMachine):
    def __init__(self):
        super().__init__()
        self.root = Path(tempfile.mkdtemp(prefix="lemmascope-machine-"))
        self.processes = []
        self.looked = True  # for orphans, since something changed
        self.count = itertools.count()
        self.before, journal.LARGE = journal.LARGE, BIG

    def teardown(self):
        journal.LARGE = self.before
        for p in self.processes:
            for k in p.kept():
                if k.writer is not None:
                    k.writer.close()
            if p.alive:
                p.journals.lock.release()
        shutil.rmtree(self.root)

    # --- what a living process does ---

    def _living(self):
        return [p for p in self.processes if p.alive]

    @initialize()
    def first(self):
        self.begin()

    @rule(data=st.data())
    def act(self, data):
        """One rule, so that each deed comes as often as it must for the rare ones to meet."""
        may = ["begin"] if len(self._living()) < 2 else []
        may += [] if self.looked else ["orphans"]
        if self._living():
            may += ["write"] * 5 + ["hold"] * 2 + ["remember", "forget"] + ["end"] * 2
        if self._dead():
            may += ["damage"] * 3 + ["recover"] * 2 + ["go_on"] * 2 + ["discard"]
        getattr(self, data.draw(st.sampled_from(may)))(data)

    def begin(self, data=None):
        self.processes.append(Process(state.Journals(self.root)))
        self.looked = False

    def _alive(self, data):
        return data.draw(st.sampled_from(self._living()))

    def _open(self, p, run, first):
        parts = p.runs.setdefault(run, {})
        kept = parts.get(str(first))
        if kept is None:
            place = Path(state.stack_journal(p.journals.of(run), first))
            kept = parts[str(first)] = Kept(place)
        if kept.writer is None:
            kept.open()
        return kept

    def _append(self, kept, what):
        since = kept.writer.end
        kept.writer.append(what)
        kept.took(what, since)

    def write(self, data):
        """A job, or more of one."""
        run = data.draw(st.sampled_from("ab"))
        first = data.draw(st.sampled_from(STACKS))
        kinds = data.draw(
            st.lists(
                st.sampled_from(["rows", "rows", "checkpoint", "large", "started", *ENDS]),
                max_size=6,
            )
        )
        kept = self._open(self._alive(data), run, first)
        for kind in ["started"] * (len(kept.spans) < 2) + kinds:
            self._append(kept, message(run, first, kind, next(self.count)))

    def _pick(self, data, p, held=None):
        some = [k for k in p.kept() if held is None or (k.writer is not None) == held]
        return data.draw(st.sampled_from(some)) if some else None

    def hold(self, data):
        what = data.draw(st.sampled_from(["sync", "let go", "take it too"]))
        kept = self._pick(data, self._alive(data), True)
        if kept is None:
            return
        if what == "take it too":
            with pytest.raises(journal.JournalHeld, match=f"process {os.getpid()} on"):
                journal.Writer(kept.path)
            return
        kept.synced = len(kept.spans)
        if what == "sync":
            kept.writer.sync()
        else:
            kept.writer.close()
            kept.writer = None

    def remember(self, data):
        run = data.draw(st.sampled_from("ab"))
        kinds = data.draw(st.lists(st.sampled_from(["rows", "large"]), max_size=4))
        p = self._alive(data)
        told = [begun(run), *(message(run, 0, k, next(self.count)) for k in kinds)]
        p.journals.remember(run, told)
        (place,) = Path(p.journals.of(run)).glob(f"{state.PAST}.*journal")  # the one before is gone
        kept = Kept(place, told)
        found = list(journal.records(kept.path.read_bytes()))[1:]  # the first says who holds it
        starts = [r.end - len(r.body) - 1 - journal.SIZE for r in found]
        kept.spans = list(zip(starts, (r.end for r in found), strict=True))
        kept.beside = [
            f"{kept.path}.{r.number}.checkpoint" if r.kind == b"f" else "" for r in found
        ]
        kept.synced = len(told)
        p.runs.setdefault(run, {})[state.PAST] = kept

    def forget(self, data):
        """Saved, or not wanted: nobody trains it then."""
        run = data.draw(st.sampled_from("ab"))
        p = self._alive(data)
        for k in p.runs.pop(run, {}).values():
            if k.writer is not None:
                k.writer.close()
        p.journals.forget(run)
        assert not (p.journals.own / run).exists()

    # --- how it ends ---

    def end(self, data):
        """A power cut may take what was not synced, from some byte on; `quit`: nothing is wanted any more."""
        how = data.draw(st.sampled_from(["kill", "power cut", "power cut", "close", "quit"]))
        p = self._alive(data)
        p.alive = self.looked = False
        if how in ("close", "quit"):
            for k in p.kept():
                if k.writer is not None:
                    k.writer.close()
                    k.writer = None
            p.journals.close(how == "quit")
            if how == "quit":
                p.runs = {}
            return
        for k in p.kept():
            if k.writer is not None:
                os.close(k.writer.fd)
                k.writer = None
                size = os.path.getsize(k.path)
                if how == "power cut":
                    least = max((s[1] for s in k.spans[: k.synced] if s), default=0)
                    size = least + data.draw(PLACES) * (size - least) // MANY
                    os.truncate(k.path, size)
                k.lose(i for i, s in enumerate(k.spans) if s and s[1] > size)
        os.close(p.journals.lock.fd)
        p.journals.lock.fd = -1

    # --- what happens to the dead ---

    def _dead(self):
        return [(p, run) for p in self.processes if not p.alive for run in p.runs]

    def _one(self, data):
        return data.draw(st.sampled_from(self._dead()))

    def damage(self, data):
        self.looked = False
        p, run = self._one(data)
        kept = data.draw(st.sampled_from(list(p.runs[run].values())))
        beside = [(i, b) for i, b in enumerate(kept.beside) if b and kept.spans[i]]
        if beside and data.draw(st.booleans()):
            i, path = data.draw(st.sampled_from(beside))
            blob = bytearray(Path(path).read_bytes())
            blob[data.draw(PLACES) * len(blob) // (MANY + 1)] ^= 4
            Path(path).write_bytes(blob)
            kept.messages[i], kept.beside[i] = None, ""  # its record is whole, and says nothing now
            return
        blob = bytearray(kept.path.read_bytes())
        if not blob:
            return
        at = data.draw(PLACES) * len(blob) // (MANY + 1)
        end = min(len(blob), at + data.draw(st.sampled_from([1, 40, 700])))
        mask = 1 + next(self.count) % 255  # damage never mends damage
        blob[at:end] = bytes(b ^ mask for b in blob[at:end])
        kept.path.write_bytes(blob)
        kept.lose(i for i, s in enumerate(kept.spans) if s and s[0] < end and at < s[1])

    def recover(self, data):
        p, run = self._one(data)
        expected = merged(run, p.runs[run])
        if expected is None:
            with pytest.raises(ValueError, match="does not say which"):
                state.recover(p.journals.own / run)
            return
        got = [encode(m) for m in state.recover(p.journals.own / run)]
        assert got == [encode(m) for m in expected]

    def go_on(self, data):
        """A journal that is opened again goes on after its last whole record."""
        self.looked = False
        p, run = self._one(data)
        first = data.draw(st.sampled_from(STACKS))
        if str(first) in p.runs[run]:
            kept = p.runs[run][str(first)]
            kept.open()
            self._append(kept, message(run, first, "large", next(self.count)))
            kept.writer.close()
            kept.writer, kept.synced = None, len(kept.spans)

    def orphans(self, data=None):
        self.looked = True
        found = {o.path: o for o in state.orphans(self.root)}
        expected = set()
        for p, run in self._dead():
            place = p.journals.own / run
            messages = merged(run, p.runs[run])
            if (
                messages is None
            ):  # nobody can say what it was; it goes if nothing was ever kept there
                if not place.exists():
                    assert not any(k.read() for k in p.runs.pop(run).values())
                continue
            expected.add(str(place))
            rows = [m for m in messages if isinstance(m, Rows)]
            assert found[str(place)].steps == max((int(m.steps[-1]) for m in rows), default=0)
        assert set(found) == expected
        for p in self.processes:  # a folder goes with its last run, once it was looked at
            assert p.journals.own.exists() == bool(p.alive or p.runs)

    def discard(self, data):
        p, run = self._one(data)
        state.discard(p.journals.own / run)
        del p.runs[run]
        assert not (p.journals.own / run).exists()
        assert p.journals.own.exists() == bool(p.runs)  # with its last run

    @invariant()
    def every_journal_holds_what_was_kept_and_nothing_else(self):
        for k in (k for p in self.processes for k in p.kept()):
            assert [encode(m) for m in journal.recover(k.path)] == [encode(m) for m in k.read()]


def test_journals_and_the_state_folder_do_what_a_plain_model_does(request):
    long = request.config.getoption("--long")
    run_state_machine_as_test(
        StateFolder,
        settings=settings(max_examples=600 if long else 30, stateful_step_count=40, deadline=None),
    )
