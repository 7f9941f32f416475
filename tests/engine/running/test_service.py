"""The service with real worker processes: every verb, and what happens when a worker dies."""

import asyncio
import contextlib
import os
import signal

import numpy as np
import psutil
import pytest

from engine.client import Client, Failed
from engine.messages import Changed, Checkpoint, Control, Predict, Predicted, Refused, Status
from engine.running.runs import ENDED

NAME = "generalisation/xor_clusters"
SMALL = {"d": 200, "n": 50, "width": 32, "steps": 400}


def drive(work, workers=1):
    async def main():
        async with Client(workers) as client:
            return await asyncio.wait_for(work(client), 90)

    return asyncio.run(main())


def readings(run):
    return {(r.metric, r.first): (r.steps, r.values) for r in run.trace_rows()}


def same(a, b):
    a, b = readings(a), readings(b)
    assert a.keys() == b.keys()
    for k in a:
        np.testing.assert_array_equal(a[k][0], b[k][0], err_msg=str(k))
        np.testing.assert_array_equal(a[k][1], b[k][1], err_msg=str(k))


async def until(client, run, *states):
    if run.status is not None and run.status.state in states:
        return run.status
    return await client.wait(
        lambda m: isinstance(m, Status) and m.run == run.id and m.state in states
    )


def test_pause_step_resume_and_branch_change_nothing():
    async def work(client):
        whole = await client.begin(experiment=NAME, values=SMALL, seeds=2)
        assert (await client.finish(whole)).state == "done"
        stepped = await client.begin(experiment=NAME, values=SMALL, seeds=2, paused=True)
        await until(client, stepped, "paused")
        await client.control(stepped, "step", steps=1)
        await client.wait(lambda m: isinstance(m, Status) and m.state == "paused" and m.step == 1)
        await client.control(stepped, "step", steps=150)
        await client.wait(lambda m: isinstance(m, Status) and m.state == "paused" and m.step == 151)
        await client.control(stepped, "resume")
        assert (await until(client, stepped, *ENDED)).state == "done"
        same(whole, stepped)
        step = sorted({s for _, s in stepped.checkpoints if 0 < s < 400})[-1]
        branch = await client.begin(
            experiment=NAME, values=SMALL, seeds=2, parent=stepped.id, parent_step=step
        )
        await client.finish(branch)
        same(whole, branch)
        assert branch.started.parent == stepped.id

    drive(work)


def test_a_hot_knob_takes_effect_at_the_next_step_and_is_replayed():
    async def work(client):
        values = SMALL | {"steps": 1000}
        run = await client.begin(experiment=NAME, values=values, seeds=2, paused=True)
        await until(client, run, "paused")
        await client.control(run, "step", steps=137)
        await client.wait(lambda m: isinstance(m, Status) and (m.state, m.step) == ("paused", 137))
        await client.control(run, "set", knob="lr", value=0.1)
        assert run.changes == [Changed(run.id, 137, "lr", 0.1, 0)]
        await client.control(run, "resume")
        await until(client, run, *ENDED)
        again = await client.begin(
            experiment=NAME, values=values, seeds=2, changes=tuple(run.changes)
        )
        await client.finish(again)
        same(run, again)
        plain = await client.begin(experiment=NAME, values=values, seeds=2)
        await client.finish(plain)
        steps, loss = readings(plain)[("train_loss", 0)]
        changed = readings(run)[("train_loss", 0)][1]
        before = steps <= 137
        np.testing.assert_array_equal(loss[before], changed[before])
        assert (loss[~before] != changed[~before]).any()

    drive(work)


@pytest.mark.parametrize(
    ("request_", "words"),
    [
        ({"values": {"lr": 7}}, "lr = 7 lies outside"),
        ({"values": {"speed": 7}}, "no knob speed"),
        ({"experiment": "no/thing"}, "no experiment no/thing"),
        ({"preset": "nowhere"}, "has no preset nowhere"),
        ({"dtype": "float16"}, "dtype = float16"),
        ({"device": "cuda:7"}, "device = cuda:7"),
        ({"seeds": 5000}, "seeds = 5000"),
        ({"sweep": {"lr": []}}, "has no values"),
        ({"parent": "nobody", "parent_step": 3}, "no checkpoint"),
    ],
)
def test_what_cannot_be_is_refused_in_one_sentence(shared, request_, words):
    client, loop = shared
    with pytest.raises(Failed, match=words) as caught:
        loop.run_until_complete(client.begin(**({"experiment": NAME} | request_)))
    assert "\n" not in str(caught.value)


@pytest.fixture(scope="module")
def shared():
    loop = asyncio.new_event_loop()
    client = Client(1)
    loop.run_until_complete(client.__aenter__())
    yield client, loop
    loop.run_until_complete(client.__aexit__())
    loop.close()


def test_controls_that_make_no_sense_are_refused(shared):
    client, loop = shared

    async def work():
        run = await client.begin(experiment=NAME, values=SMALL | {"steps": 3}, seeds=1)
        await client.finish(run)
        answers = []
        for control in (
            Control(run.id, "resume"),
            Control("nobody", "pause"),
            Control(run.id, "set", "d", 300),
        ):
            answers.append(await client.ask(control, lambda m: isinstance(m, Refused)))
        return answers

    whys = [a.why for a in loop.run_until_complete(work())]
    assert "nothing to resume" in whys[0] and "no run nobody" in whys[1] and "d cannot" in whys[2]


def test_predictions_come_without_training_and_while_training(shared):
    client, loop = shared

    async def work():
        run = await client.begin(experiment=NAME, values=SMALL | {"steps": 1000}, seeds=4)
        got = await client.ask(
            Predict("ticket", NAME, {"d": 300}),
            lambda m: isinstance(m, Predicted) and m.run == "ticket" and m.prediction == "step_one",
        )
        still = run.status.state if run.status else "queued"
        await client.control(run, "cancel")
        end = await until(client, run, *ENDED)
        return got, still, end

    got, still, end = loop.run_until_complete(work())
    assert 0.5 < got.values.flat[0] < 1 and still in ("queued", "running")
    assert end.state == "cancelled"


def test_sweeps_over_shapes_train_in_stacks():
    async def work(client):
        run = await client.begin(
            experiment=NAME, values=SMALL | {"steps": 20}, sweep={"width": [32, 64]}, seeds=2
        )
        await client.finish(run)
        return run

    run = drive(work, workers=2)
    assert run.started.stacks == (0, 2) and run.status.state == "done"
    assert run.started.members["width"].tolist() == [32, 32, 64, 64]
    assert {first for _, first in run.columns} == {0, 2}


def test_a_killed_worker_is_told_replaced_and_resumed_from():
    async def work(client):
        run = await client.begin(experiment=NAME, values=SMALL | {"steps": 1000}, seeds=4)
        await client.wait(lambda m: isinstance(m, Checkpoint) and m.run == run.id)
        victim = next(w for w in client.service.crew.all if w.job)
        os.kill(victim.pid, signal.SIGKILL)
        failed = await until(client, run, "failed")
        assert "signal 9" in failed.why and "resume" in failed.why
        await client.control(run, "resume")
        done = await client.wait(
            lambda m: isinstance(m, Status) and m.run == run.id and m.state == "done"
        )
        whole = await client.begin(experiment=NAME, values=SMALL | {"steps": 1000}, seeds=4)
        await client.finish(whole)
        same(run, whole)
        return done

    assert drive(work).state == "done"


def test_closing_leaves_no_process():
    async def work(client):
        await client.begin(experiment=NAME, values=SMALL, seeds=2)
        return [w.pid for w in client.service.crew.all]

    for pid in drive(work):
        with contextlib.suppress(psutil.NoSuchProcess):
            assert not psutil.Process(pid).is_running()
