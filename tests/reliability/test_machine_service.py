"""The service against a plain model, with workers of cardboard: every order of asking, working, hearing and dying."""

from __future__ import annotations

import itertools
import os
import re
import shutil
import tempfile
import types
from collections import Counter, deque
from pathlib import Path

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule, run_state_machine_as_test

from engine.messages import (
    Control,
    Forget,
    Open,
    Opened,
    Predict,
    Predicted,
    Refused,
    Save,
    Saved,
    Start,
    Started,
    Status,
)
from engine.running import service
from engine.sessions import saver, state, writing
from tests.reliability import cardboard
from tests.reliability.cardboard import NAME, Clock, Worker
from tests.reliability.wishes import UNFORESEEN, Asked, content, patched


class Engine(RuleBasedStateMachine):
    def __init__(self):
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="lemmascope-machine-"))
        os.environ["LEMMASCOPE_STATE"], self.before = (
            str(self.folder),
            os.environ["LEMMASCOPE_STATE"],
        )
        self.loop = Clock()
        self.errors = []
        self.loop.set_exception_handler(lambda loop, context: self.errors.append(context))
        service.time = types.SimpleNamespace(monotonic=self.loop.time)
        saver.save = self.save_here
        Worker.made = []
        self.ids = itertools.count()
        self.asked = {}  # run -> Asked
        self.said = []
        self.states = {}  # run -> its last Status' state
        self.saves = deque()  # (path, {run: messages heard by then}), not answered yet
        self.files = {}  # path -> {run: content}
        self.opens = Counter()
        self.predictions = 0
        self.service = service.Service(self.heard, workers=2)
        task = self.loop.create_task(self.service.start())
        self.loop.spin()
        assert task.done()

    def save_here(self, path, runs, notes="", layout="", cards=None, *, overwrite=False):
        streams = [list(r) for r in runs]
        if "full" in path:
            raise saver.SaveFailed("the disk is full")
        Path(path).write_bytes(
            writing.image(streams, notes=notes, layout=layout, cards=cards or {})
        )
        self.while_saving(s[0].run for s in streams)
        self.files[path] = {s[0].run: content(s) for s in streams}

    def while_saving(self, names):
        for name in names:
            self.asked[name].perhaps |= bool(self.service.crew.of(name))

    # --- what is heard is checked at once ---

    def heard(self, m):
        self.said.append(m)
        jobs = self.service.crew.jobs()
        match m:
            case Started():
                assert not [o for o in self.said[:-1] if isinstance(o, Started) and o.run == m.run]
            case Refused():
                assert not UNFORESEEN.match(m.why), m
                if m.run in self.asked and "cannot change" in m.why:
                    self.asked[m.run].lr = None  # nobody had described it yet
                elif m.run in self.asked and m.run not in self.service.runs:
                    self.asked[m.run].refused = True
            case Status():
                run = self.service.runs[m.run]
                training = {f for r, f in jobs if r == m.run}
                waiting = {f for r, f in self.service.queue if r == m.run}
                assert not training & waiting
                if m.state == "running":
                    assert training
                elif m.state == "queued":
                    assert waiting or self.asked[m.run].wants in ("running", "step")
                elif m.state in ("paused", "cancelled", "done"):
                    assert not training and not waiting
                if self.states.get(m.run) in ("done", "stopped"):
                    assert m.state == self.states[m.run]
                if m.state == "done":
                    total = run.started.values["steps"]
                    assert min(s.reached for s in run.stacks.values()) >= total
                self.states[m.run] = m.state
            case Predicted():
                self.predictions -= m.run == "?"
            case Opened():
                self.opens[m.path] -= 1
                for r in m.runs:
                    self.asked[r] = Asked("paused", hurt=True)  # as the file has it
            case Saved():
                path, heard = self.saves.popleft()
                assert m.path == path, "not in the order of asking"
                assert "has it open" not in m.why, "held up by itself"
                if not m.why:
                    for name, saved in self.files[m.path].items():
                        run = self.service.runs.get(name)
                        whole = run and self.journalled(run) <= saved.items()
                        if whole and not self.service.crew.of(name):
                            self.asked[name].trained = False
                            # what was heard meanwhile keeps the journal, unless that was gone already
                            self.asked[name].perhaps |= run.heard != heard[name]

    # --- what happens ---

    @rule(data=st.data())
    def act(self, data):
        """One rule, so that each deed comes as often as it must for the rare ones to meet."""
        live = [w for w in Worker.made if not w.told]
        may = ["begin"] * 2 + ["control"] * 8 + ["save", "open", "predict", "later"]
        may += ["work"] * 8 + ["hear"] * 8 if live else []
        may += ["hurt"] if live else []
        may += ["write"] * 3 if self.loop.disk.jobs else []
        may += ["forget", "rest"] if self.service.runs else []
        getattr(self, data.draw(st.sampled_from(may)))(data, live)
        self.loop.spin()
        self.check()

    def begin(self, data, live):
        run = f"r{next(self.ids)}"
        values = {"steps": data.draw(st.sampled_from([12, 6])), "lr": 1.0}
        if data.draw(st.integers(0, 9)) == 0:
            values["width"] = 10
        sweep = {"width": [1, 2]} if data.draw(st.booleans()) else {}
        start = Start(run, NAME, values, sweep, 2, paused=data.draw(st.integers(0, 3)) == 0)
        some = sorted(self.service.runs)
        if some and data.draw(st.booleans()):
            parent = self.service.runs[data.draw(st.sampled_from(some))]
            steps = sorted({s for _, s in parent.checkpoints}) or [0]
            step = data.draw(st.sampled_from(steps))
            if data.draw(st.integers(0, 3)):  # else another sweep, perhaps
                values["steps"], sweep = parent.started.steps, parent.started.sweep
            changes = tuple(c for c in parent.changes if c.step <= step)
            start = Start(run, NAME, values, sweep, 2, paused=start.paused, parent=parent.id,
                          parent_step=step, changes=changes)  # fmt: skip
        self.asked[run] = Asked("paused" if start.paused else "running")
        self.service.send(start)

    def control(self, data, live):
        names = [r for r, a in self.asked.items() if not a.refused and not a.forgotten]
        verb = data.draw(
            st.sampled_from(
                ["pause", "resume", "resume", "step", "set", "set", "cancel", "checkpoint"]
            )
        )
        if not names:
            self.service.send(Control("nobody", verb))
            assert self.said[-1].why == "there is no run nobody"
            return
        name = data.draw(st.sampled_from(names[-4:]))
        count = data.draw(st.integers(1, 5))
        asked, run = self.asked[name], self.service.runs.get(name)
        if verb == "set":
            states = {s.state for s in run.stacks.values()} if run else set()
            free = asked.wants != "cancelled" and not states & {"cancelled", "failed"}
            asked.lr = float(count) if free else None
            self.service.send(Control(name, "set", "lr", float(count)))
            return
        if verb in ("pause", "cancel"):
            asked.wants = {"pause": "paused", "cancel": "cancelled"}[verb]
            asked.lr = None if verb == "cancel" else asked.lr
        elif verb == "resume":
            asked.wants = "running"
        elif verb == "step" and run is not None:
            until = run.overall()[1] + count
            halted = [
                s for s in run.stacks.values() if s.state in ("paused", "cancelled", "failed")
            ]
            if asked.wants in ("paused", "cancelled") or any(s.step < until for s in halted):
                asked.wants, asked.until = "step", until  # else it goes on already
        elif verb == "step":
            return  # of a run that has not begun: nobody knows from where
        self.service.send(Control(name, verb, steps=count))

    def predict(self, data, live):
        self.predictions += 1
        self.service.send(Predict("?", NAME, {}))

    def work(self, data, live):
        worker = data.draw(st.sampled_from(live))
        for _ in range(data.draw(st.integers(1, 6))):
            worker.work()
        self.notice(worker)

    def notice(self, worker):
        while worker.begun:
            name = worker.begun.pop()
            self.asked[name].trained = True
            # it may have been forgotten already
            self.asked[name].perhaps |= any(name in heard for _, heard in self.saves)

    def hear(self, data, live):
        data.draw(st.sampled_from(live)).hear(data.draw(st.sampled_from([1, 2, 50])))

    def hurt(self, data, live):
        worker = data.draw(st.sampled_from(live))
        how = data.draw(st.sampled_from(["kill", "trip", "freeze"]))
        if worker.job is not None:
            self.asked[worker.job[0]].hurt = True
        if how == "kill":
            worker.kill()
        elif how == "trip":
            worker.trips = worker.training is not None
        elif not worker.dead:
            worker.frozen_at = self.loop.time()
            for run in self.asked.values():  # whoever gets it next
                run.hurt = True

    def later(self, data, live):
        self.loop.now += data.draw(st.sampled_from([0.1, 0.3, 1.0, 5.0]))

    def write(self, data, live):
        self.loop.disk.next()

    def save(self, data, live):
        names = [r for r in self.service.runs if not self.asked[r].forgotten]
        if names:
            path = str(self.folder / data.draw(st.sampled_from(["a", "b", "full"])))
            chosen = data.draw(st.lists(st.sampled_from(names), min_size=1, unique=True))
            self.saves.append((path, {r: self.service.runs[r].heard for r in chosen}))
            self.while_saving(chosen)
            self.service.send(Save(path, tuple(chosen)))

    def open(self, data, live):
        path = str(self.folder / data.draw(st.sampled_from(["a", "b"])))
        if len(self.service.runs) < 12:
            self.opens[path] += 1
            self.service.send(Open(path))

    def forget(self, data, live):
        name = data.draw(st.sampled_from(sorted(self.service.runs)))
        self.asked[name].forgotten = True
        self.service.send(Forget(name))

    def settle(self):
        """Everybody works and is heard until there is nothing left to do."""
        for quiet in itertools.count():
            busy = False
            for w in [w for w in Worker.made if not w.told]:
                w.frozen_at = None
                while w.work():
                    busy = True
                    self.notice(w)
                busy |= bool(w.outbox) or w.dead
                w.hear(len(w.outbox))
            while self.loop.disk.jobs:
                busy = True
                self.loop.disk.next()
                self.loop.spin()
            self.loop.now += 0.3
            self.loop.spin()
            if not busy:
                return
            assert quiet < 100, "it never comes to rest"

    def rest(self, data=None, live=None):
        for _ in range(3):
            self.settle()
        self.check()
        for w in Worker.made:
            for name in w.unheard:
                self.asked[name].hurt = True
        s = self.service
        assert not s.asked and not s.early and not s.tasks and not s.unwanted
        assert not s.crew.jobs() and not s.crew.waiting
        assert not [m for w in s.crew.all for m in w.unanswered]
        assert not self.saves and not any(self.opens.values())
        assert not self.predictions or any(w.dead for w in Worker.made)  # a slider asks again
        if not s.broken:
            assert not s.queue
        for name, asked in self.asked.items():
            begun = name in s.runs
            assert begun != (asked.refused or asked.forgotten), (name, asked)
            if begun:
                self.at_rest(name, asked, s.runs[name])
        own = s.files.journals.own if s.files.journals else None
        folders = {p.parent.name for p in own.glob("*/*.journal")} if own else set()
        for name in folders & {n for w in Worker.made for n in w.unheard}:
            self.asked[name].trained = True  # its past was written down for a job that never began
        unsaved = {n for n, a in self.asked.items() if a.trained and not a.forgotten}
        assert unsaved <= folders
        assert not [n for n in folders - unsaved if n not in s.runs or not self.asked[n].perhaps]

    def at_rest(self, name, asked, run):
        total = run.started.values["steps"]
        assert run.status.state == self.states[name] == run.overall()[0]
        assert not run.judging
        for s in run.stacks.values():
            assert not s.sets or s.state in ("cancelled", "failed")  # it takes them when it goes on
            if s.state == "failed":
                assert (
                    asked.hurt or self.service.broken or re.search("did not answer|tripped", s.why)
                )
            elif s.state == "done":
                assert s.step == s.reached >= total
            elif asked.wants == "step":
                assert s.state == "paused" and s.step >= asked.until
            else:
                assert s.state == asked.wants or (s.state, asked.wants) == ("cancelled", "paused")
            if s.state == "paused" and asked.lr is not None and not asked.hurt:
                mine = [c for c in run.changes if c.first == s.first]
                assert cardboard.rate(run.started.values["lr"], mine, s.step) == asked.lr
            column = run.columns.get(("w", s.first))
            rows = column.joined() if column else None
            steps = rows.steps.tolist() if rows else []
            assert steps == list(range(len(steps))) and (not s.step or len(steps) > s.step)
            for step, value in zip(steps[: s.step + 1], rows.values if rows else (), strict=False):
                assert value[0] == cardboard.expected(run, s.first, step), (name, s.first, step)
        if run.overall()[0] == "done" and not self.service.repeated and not run.opened:
            assert not run.judged["all"].interim
            assert run.judged["all"].measured == sum(
                len(c.joined().steps) for c in run.columns.values()
            )
        if asked.trained:
            kept = content(state.recover(self.service.files.journals.own / name))
            assert self.journalled(run) <= kept.items()

    def journalled(self, run):
        """Not a knob that was set while the stack stood still: the next job writes that down."""
        stood = {("change", s.first, s.step) for s in run.stacks.values()}
        return {k: v for k, v in content(run.messages()).items() if k[:3] not in stood}.items()

    def check(self):
        assert not self.errors, self.errors
        training = Counter(
            (w.training.job.run, w.training.job.first)
            for w in Worker.made
            if w.training is not None
        )
        assert all(n == 1 for n in training.values()), "two workers train one stack"

    # --- how it ends ---

    def teardown(self):
        try:
            if not self.errors:
                self.rest()
                self.close()
        finally:
            for w in Worker.made:
                if w.training is not None:
                    w.training.vanish()
            if self.service.files.journals is not None:
                self.service.files.close(discard=True)
            self.loop.close()
            os.environ["LEMMASCOPE_STATE"] = self.before
            shutil.rmtree(self.folder)

    def close(self):
        """What was not saved is offered, and is whole."""
        left = {n for n, a in self.asked.items() if a.trained and not a.forgotten}
        task = self.loop.create_task(self.service.close(discard=False))
        for _ in range(50):
            self.loop.spin()
            if task.done():
                break
            while self.loop.disk.jobs:
                self.loop.disk.next()
            self.loop.now += 0.1
        task.result()
        self.check()
        orphans = {os.path.basename(o.path): o for o in state.orphans(self.folder)}
        assert left <= set(orphans)
        assert all(self.asked[n].perhaps for n in set(orphans) - left)
        for name, orphan in orphans.items():
            run = self.service.runs[name]
            kept = content(state.recover(orphan.path))
            assert self.journalled(run) <= kept.items()
        locks = (
            {p.name for p in self.folder.iterdir()}
            - {"journals"}
            - {os.path.basename(p) for p in self.files}
        )
        assert not locks


def test_the_service_does_what_a_plain_model_does(request):
    long = request.config.getoption("--long")
    before = saver.save, service.time
    try:
        with patched():
            run_state_machine_as_test(
                Engine,
                settings=settings(
                    max_examples=3000 if long else 40, stateful_step_count=60, deadline=None
                ),
            )
    finally:
        saver.save, service.time = before
