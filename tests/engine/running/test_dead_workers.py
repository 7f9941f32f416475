"""Before the first worker lives, and where none does: nothing wrong is said, nobody waits for ever."""

import asyncio
import sys
import time
from pathlib import Path

import numpy as np
import psutil
import pytest

from engine.client import Client, Failed
from engine.messages import (
    Changed,
    Checkpoint,
    Control,
    Ended,
    Job,
    Judged,
    JudgedAll,
    Open,
    Opened,
    Refused,
    Rewound,
    Rows,
    Start,
    Started,
)
from engine.running import pool, runs, spawning
from engine.running.service import Service
from engine.running.training import Training, started
from engine.sessions import state


def ends_at_once(connection):
    sys.exit(7)


def test_workers_that_all_end_are_said_and_not_waited_for(monkeypatch):
    monkeypatch.setattr(spawning, "_serve", ends_at_once)

    async def begin():
        async with Client(workers=1):
            pass

    with pytest.raises(Failed, match=r"worker processes keep ending \(.*exit code 7"):
        asyncio.run(asyncio.wait_for(begin(), 60))


def test_a_file_that_is_opened_before_the_first_worker_is_warm_knows_what_is_installed():
    path = Path(__file__).parents[3] / "resources" / "sessions" / "matrix_sensing.lemma.h5"

    async def opened():
        said = asyncio.Queue()
        service = Service(said.put_nowait, workers=1)
        await service.start()
        service.send(Open(str(path)))
        messages = [await said.get()]
        while not isinstance(messages[-1], Opened):
            messages.append(await said.get())
        await service.close()
        return messages

    messages = asyncio.run(asyncio.wait_for(opened(), 60))
    assert messages[-1].runs and not messages[-1].why
    assert not [m for m in messages if isinstance(m, Refused)]


def babbles(connection):
    connection.send_bytes(b"this is no message")
    time.sleep(60)


def test_a_process_that_says_what_is_no_message_is_ended(monkeypatch):
    monkeypatch.setattr(spawning, "_serve", babbles)
    began = time.monotonic()

    async def begin():
        client = Client(workers=1)
        with pytest.raises(Failed, match=r"it sent what is no message"):
            await client.__aenter__()
        await client.service.close()

    asyncio.run(asyncio.wait_for(begin(), 60))
    assert time.monotonic() - began < 20
    assert not [p for p in psutil.Process().children() if "spawn_main" in " ".join(p.cmdline())]


def test_what_is_asked_when_no_worker_lives_is_refused_in_the_same_words(monkeypatch):
    monkeypatch.setattr(spawning, "_serve", ends_at_once)

    async def begin():
        client = Client(workers=1)
        early = asyncio.ensure_future(client.begin(experiment="x/y"))
        with pytest.raises(Failed):
            await client.__aenter__()
        for asked in (early, client.begin(experiment="x/y")):
            with pytest.raises(Failed, match="worker processes keep ending"):
                await asyncio.wait_for(asked, 10)
        assert not client.service.asked
        await client.service.close()

    asyncio.run(asyncio.wait_for(begin(), 60))


@pytest.mark.parametrize("turns", [0, 1, 5, 50])
def test_closed_while_it_starts_nothing_is_left(turns):
    async def begin():
        service = Service(lambda m: None, workers=1, keep=False)
        starting = asyncio.ensure_future(service.start())
        for _ in range(turns):
            await asyncio.sleep(0.001)
        await service.close()
        await asyncio.wait([starting], timeout=10)
        assert starting.done() and starting.exception() is None
        return [w.pid for w in service.crew.all]

    pids = asyncio.run(asyncio.wait_for(begin(), 60))
    assert not [p for p in pids if p and psutil.pid_exists(p)]


def run_of(name, stacks=(0,)):
    begun = Started(
        name, "x/y", {}, {}, {"seed": np.arange(len(stacks))}, stacks, 10, "float32", "cpu",
        "", "", 0, {}, "",
    )  # fmt: skip
    return runs.begin(Start(name, "x/y"), begun)


def service_of(*known):
    """A service without processes; what it asked its workers."""
    said = []
    service = Service(said.append, workers=2, keep=False)
    service.loop = asyncio.get_running_loop()
    service.runs = {r.id: r for r in known}
    service.crew.spawn = lambda work: work.close()
    service.asked_of = asked = []
    service.crew.ask = asked.append
    return service, said


def test_a_process_that_is_gone_gets_no_work():
    """Its last word was the end of a job; the next one in the queue is not given to it."""

    async def work():
        a, b = run_of("a"), run_of("b")
        service, _ = service_of(a, b)
        worker = pool.Worker(service.loop, service._heard, service.crew._gone)
        worker.warm, worker.job = True, ("a", 0)
        service.crew.all = [worker]
        service.queue.append(("b", 0))
        worker._in.append(Ended("a", 0, "done", 10))
        worker._finish("it was ended by signal 9")
        assert b.stacks[0].state == "queued" and list(service.queue) == [("b", 0)]
        assert a.stacks[0].state == "done"

    asyncio.run(work())


def test_a_stack_that_fails_while_others_train_is_said_and_not_judged_yet():
    async def work():
        run = run_of("a", (0, 1))
        run.take(Rows("a", "loss", 0, np.arange(3), np.zeros((3, 1))))
        run.take(Rows("a", "loss", 1, np.arange(3), np.zeros((3, 1))))
        service, said = service_of(run)
        workers = [pool.Worker(service.loop, service._heard, service.crew._gone) for _ in "ab"]
        for first, w in enumerate(workers):
            w.warm, w.job, run.stacks[first].state = True, ("a", first), "running"
        service.crew.all = workers
        service._ended(workers[0], Ended("a", 0, "failed", 2, "thrown"))
        assert [(m.state, m.why) for m in said] == [("running", "thrown")]
        assert not service.asked_of
        service._ended(workers[1], Ended("a", 1, "done", 10))
        assert [(m.state, m.why) for m in said[1:]] == [("failed", "thrown")]
        (asked,) = service.asked_of
        assert not asked.interim

    asyncio.run(work())


def test_a_knob_set_while_a_stack_fails_is_in_force_when_it_goes_on():
    """Until then what it measured stays to be looked at."""

    async def work():
        run = run_of("a")
        run.take(Rows("a", "loss", 0, np.arange(30), np.zeros((30, 1))))
        run.take(Checkpoint("a", 20, 0, {"w": np.zeros(1)}))
        service, said = service_of(run)
        stack = run.stacks[0]
        stack.state, stack.sets = "running", {"lr": (0.5, 1)}
        worker = pool.Worker(service.loop, service._heard, service.crew._gone)
        worker.warm, worker.job = True, ("a", 0)
        service._ended(worker, Ended("a", 0, "failed", 29, "thrown"))
        assert stack.state == "failed" and not run.changes
        assert run.trace_rows()[0].steps[-1] == 29
        service._control(Control("a", "resume"))
        assert run.changes == [Changed("a", 20, "lr", 0.5, 0)] and not stack.sets
        assert said[-3:-1] == [Rewound("a", 0, 20), Changed("a", 20, "lr", 0.5, 0)]
        assert list(service.queue) == [("a", 0)]

    asyncio.run(work())


def test_a_step_counts_from_the_stacks_that_can_take_one():
    async def work():
        run = run_of("a", (0, 1))
        for first, now, reached in ((0, "stopped", 3), (1, "paused", 6)):
            run.stacks[first].state = now
            run.stacks[first].step = run.stacks[first].reached = reached
        service, _ = service_of(run)
        service._control(Control("a", "step", steps=2))
        assert run.until == 8 and list(service.queue) == [("a", 1)]

    asyncio.run(work())


def test_dear_verdicts_are_asked_for_rarely():
    """While a run trains they may take a tenth of a worker's time."""

    async def work():
        run = run_of("a")
        service, _ = service_of(run)
        run.stacks[0].state = "running"
        reading = Rows("a", "loss", 0, np.arange(3), np.zeros((3, 1)))
        service._of_run(reading)
        assert len(service.asked_of) == 1
        service._judged(JudgedAll("a", True, 0.5))
        for ago, asked in ((2.0, 1), (6.0, 2)):
            run.judged_at = time.monotonic() - ago
            service._of_run(reading)
            assert len(service.asked_of) == asked

    asyncio.run(work())


def test_a_verdict_from_before_the_end_does_not_replace_the_last_one():
    async def work():
        run = run_of("a")
        run.take(Rows("a", "loss", 0, np.arange(3), np.zeros((3, 1))))
        service, said = service_of(run)
        run.stacks[0].state = "done"
        verdict = lambda outcome, interim: Judged(
            "a", "c", "text", outcome, 1.0, 1.0, 0.0, "", (), "==", interim
        )
        service._of_run(verdict("holds", False))
        service._of_run(verdict("fails", True))
        assert run.judged["c"].outcome == "holds"
        assert [m.outcome for m in said if isinstance(m, Judged)] == ["holds"]

    asyncio.run(work())


def test_what_was_asked_twice_is_not_kept_for_ever():
    async def work():
        service, _ = service_of()
        worker = pool.Worker(service.loop, service._heard, service.crew._gone)
        service.crew.all = [worker]
        for i in range(20):
            worker.unanswered = [Start(f"r{i}", "x/y")]
            service._lost(worker, "thrown")
            worker.unanswered = []
        assert len(service.repeated) <= 1

    asyncio.run(work())


def test_a_knob_that_is_set_makes_what_was_measured_behind_it_another_course():
    """Of a run that a crash, or its worker's death, set back to its last checkpoint."""

    async def work():
        run = run_of("a", (0, 1))
        for first in (0, 1):
            run.take(Rows("a", "loss", first, np.arange(0, 60), np.zeros((60, 1))))
            run.take(Rows("a", "loss", first, np.arange(60, 90), np.zeros((30, 1))))
            run.take(Checkpoint("a", 40, first, {"w": np.zeros(1)}))
            run.take(Changed("a", 70, "lr", 0.5, first))
        service, said = service_of(run)
        service._of_run(Changed("a", 45, "lr", 0.1, 0))
        steps = {r.first: int(r.steps.max()) for r in run.trace_rows()}
        assert steps == {0: 45, 1: 89}
        assert [(c.first, c.step) for c in run.changes] == [(1, 70), (0, 45)]
        assert said == [Rewound("a", 0, 45), Changed("a", 45, "lr", 0.1, 0)]

    asyncio.run(work())


def test_a_training_that_was_set_back_is_not_set_back_to_its_first_course(tmp_path):
    values = {"d": 200, "n": 50, "width": 32, "steps": 400}
    start = Start("r", "generalisation/xor_clusters", values, {}, 1)
    changes = (Changed("r", 20, "lr", 0.2), Changed("r", 150, "lr", 0.3))
    job = Job("r", start, 0, 0, 100, {}, changes, started(start), str(tmp_path))
    training = Training(job, lambda blob: None, lambda why: None)
    while training.advance() is None:
        pass
    again = Job("r", start, 0, 100, -1, training._arrays(), changes, job.started, str(tmp_path))
    training = Training(again, lambda blob: None, lambda why: None)
    training.change("lr", 0.1)
    while training.advance() is None:
        pass
    assert [(c.step, c.value) for c in training.changes] == [(20, 0.2), (100, 0.1)]
    found = [(m.step, m.value) for m in state.recover(tmp_path) if isinstance(m, Changed)]
    assert found == [(20, 0.2), (100, 0.1)]
