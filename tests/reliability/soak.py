"""The engine in use for as long as one likes, with all that a person does and what goes wrong, and what it holds meanwhile.

    python -m tests.reliability.soak SECONDS [leak]

A line of JSON for each round in which everything came to rest. `leak`: on purpose, a little of everything each round.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
import psutil

from engine.client import Client
from engine.messages import Forget, Rows, Status
from engine.running import spawning
from engine.running.runs import ENDED

NAME = "stability/edge_of_stability"
VALUES = {"width": 8, "steps": 20_000}
KILL = 4  # rounds between deaths of a worker
COUNTS = (
    "threads", "handles", "children", "files", "shared memory", "tasks", "timers",
    "worker's threads", "worker's handles",
)  # fmt: skip
SIZES = ("memory", "worker's memory")
SLOPE = 20.0  # MB an hour, where the time is long enough for a slope
LONG = 300.0  # seconds that are
GROWTH = 0.05  # of the memory, in all
WARM = 0.3  # of the time, in which caches may fill, but no more than …
MOST = 90.0  # … these seconds
LEAST = 6  # rounds, however slow the machine is
held = []  # what a leak holds


def leaking(connection):
    """Runs in the spawned process in the place of `engine.running.spawning._serve`: each job leaves 6 MB."""
    from engine.running import training, worker

    begin = training.Training.__init__

    def __init__(self, *args):
        held.append(bytearray(os.urandom(1024)) * 6000)
        begin(self, *args)

    training.Training.__init__ = __init__
    worker.main(connection)


def leak(folder):
    held.append(bytearray(os.urandom(1024)) * 3000)
    held.append(os.dup(0))
    held.append(subprocess.Popen(["sleep", "600"]))
    held.append(asyncio.ensure_future(asyncio.sleep(600)))
    threading.Thread(target=threading.Event().wait, daemon=True).start()
    Path(folder, f"left-{len(held)}").touch()


def measure(loop, worker, folder):
    me, other = psutil.Process(), psutil.Process(worker.pid)
    shared = Path("/dev/shm")
    return {
        "pid": worker.pid,
        "memory": me.memory_info().rss / 1e6,
        "worker's memory": other.memory_info().rss / 1e6,
        "threads": threading.active_count(),
        "handles": me.num_fds(),
        "children": len(me.children(recursive=True)),
        "files": sum(1 for _ in Path(folder).rglob("*")),
        "shared memory": len(list(shared.iterdir())) if shared.is_dir() else 0,
        "tasks": len(asyncio.all_tasks(loop)),
        "timers": len(loop._scheduled),
        "worker's threads": other.num_threads(),
        "worker's handles": other.num_fds(),
    }


async def until(client, run, *states):
    if run.status is None or run.status.state not in states:
        await client.wait(lambda m: isinstance(m, Status) and m.run == run.id and m.state in states)


async def some(client, run, kind=Rows):
    await client.wait(lambda m: isinstance(m, kind) and m.run == run.id)


async def use(client, number, stays, path):
    """One round: what a person does with a run, and now and then a process that dies."""
    run = await client.begin(experiment=NAME, values=VALUES, seeds=2)
    await some(client, run)
    for lr in (0.05, 0.2, 0.1):
        await client.control(run, "set", knob="lr", value=lr)
        await some(client, run)
    for _ in range(2):
        await client.control(run, "pause")
        await until(client, run, "paused", *ENDED)
        await client.control(run, "step", steps=5)
        await asyncio.sleep(0)
        await until(client, run, "paused", *ENDED)
    step = max(s for _, s in run.checkpoints)
    branch = await client.begin(
        experiment=NAME, values=VALUES, seeds=2, parent=run.id, parent_step=step
    )
    await some(client, branch)
    await client.control(branch, "cancel")
    await until(client, branch, *ENDED)
    await client.save(path, [run, branch])
    opened = await client.open(path)
    if number % KILL == 1:
        await client.control(run, "resume")
        await some(client, run)
        victims = [w for w in client.service.crew.all if w is not stays]
        if victims:
            victims[0].kill()
            await until(client, run, "running", *ENDED)
    for r in (run, branch, *opened):
        client.service.send(Forget(r.id))


async def rest(client, folder):
    """Nothing is under way; two workers are warm."""
    s = client.service
    end = time.monotonic() + 30
    while s.runs or s.tasks or len(s.crew.all) < 2 or not all(w.warm for w in s.crew.all):
        assert time.monotonic() < end, "it does not come to rest"
        await asyncio.sleep(0.05)
    await asyncio.sleep(1)  # timers that end what does not stop by itself


async def soak(seconds, leaks):
    loop = asyncio.get_running_loop()
    with tempfile.TemporaryDirectory() as folder:
        os.environ["LEMMASCOPE_STATE"] = folder
        path = os.path.join(folder, "s.lemma.h5")
        # all threads that the loop may ever want for files are there from here on
        await asyncio.gather(*(asyncio.to_thread(time.sleep, 0.1) for _ in range(64)))
        async with Client(workers=2) as client:
            stays = client.service.crew.all[0]
            begun, number, rounds = time.monotonic(), 0, 0
            while time.monotonic() - begun < seconds or rounds < LEAST:
                rounds += 1
                for _ in range(1 if seconds < LONG else 2):
                    await use(client, number, stays, path)
                    number += 1
                await rest(client, folder)
                if stays not in client.service.crew.all:
                    # on a busy machine a stop that takes too long ends a process: that is no leak
                    stays = client.service.crew.all[0]
                if leaks:
                    leak(folder)
                now = measure(loop, stays, folder)
                print(
                    json.dumps({"time": time.monotonic() - begun, "round": number} | now),
                    flush=True,
                )
        left = sorted(p.name for p in Path(folder).rglob("*"))
        lives = [p.cmdline() for p in psutil.Process().children()]
        lives = [
            c for c in lives if "resource_tracker" not in " ".join(c)
        ]  # ends with this process
        print(json.dumps({"left": left, "children": lives}))
    for h in held:
        with contextlib.suppress(AttributeError, TypeError):
            h.kill()
            h.wait()


def judged(samples):
    """What grew, a sentence each.

    Counts: the least of the last third is no more than the least of the first, since at rest chance only adds. Memory:
    its median in the last third against the first, and where the time allows it the slope (Theil and Sen's, which a
    single leap of the allocator does not move).
    """
    warm = min(WARM * samples[-1]["time"], MOST)
    samples = [s for s in samples if s["time"] >= warm]
    pids = [s["pid"] for s in samples]
    lived = [
        s for s in samples if s["pid"] == max(pids, key=pids.count)
    ]  # the worker that did longest
    out = []
    for what in COUNTS:
        a, b = (min(s[what] for s in part) for part in ends(samples, lived, what))
        if b > a:
            out.append(f"{what}: {a} grew to {b}")
    for what in SIZES:
        first, last = ends(samples, lived, what)
        a, b = (float(np.median([s[what] for s in part])) for part in (first, last))
        if b > a * (1 + GROWTH):
            out.append(f"{what}: {a:.1f} MB grew to {b:.1f}")
        long = last[-1]["time"] - first[0]["time"] >= LONG
        if long and (m := slope(lived if "worker" in what else samples, what)) > SLOPE:
            out.append(f"{what}: grows by {m:.1f} MB an hour")
    return out


def ends(samples, lived, what):
    """The first and the last third."""
    some = lived if "worker" in what else samples
    third = max(1, len(some) // 3)
    return some[:third], some[-third:]


def slope(samples, what):
    """MB an hour."""
    t, y = (np.array([s[k] for s in samples]) for k in ("time", what))
    i, j = np.triu_indices(len(t), 1)
    return float(np.median((y[j] - y[i]) / (t[j] - t[i]))) * 3600


if __name__ == "__main__":
    leaks = "leak" in sys.argv
    if leaks:
        spawning._serve = leaking
    asyncio.run(soak(float(sys.argv[1]), leaks))
