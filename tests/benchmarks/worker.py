"""What a worker adds to training: recording, messages and the journal, over the bare generator."""

from __future__ import annotations

import asyncio
import os
import statistics
import tempfile
import time
from typing import Any

STEPS, ROUNDS = 4000, 5
NAME, VALUES, SEEDS = "stability/edge_of_stability", {"width": 64, "steps": STEPS}, 8


def bare() -> float:
    """Seconds of `train` from the first step to the last, in this process."""
    from engine import catalogue
    from engine.running.process import prepare
    from engine.running.train import Member, train

    prepare()
    ex = catalogue.get(NAME)
    hp = ex.hyper.of(VALUES)
    frames = train(ex, [Member(hp, s) for s in range(SEEDS)])
    next(frames)
    begun = time.perf_counter()
    for _ in frames:
        pass
    return time.perf_counter() - begun


async def in_workers(rounds: int) -> list[float]:
    """Seconds from the first reading's arrival to the last, each of a run in a warm worker, saved states included."""
    from engine.messages import Rows, Start, Status
    from engine.running.service import Service

    spans: list[float] = []
    got: asyncio.Queue[Any] = asyncio.Queue()
    service = Service(got.put_nowait, workers=1)
    await service.start()
    for i in range(rounds):
        service.send(Start(f"run{i}", NAME, values=VALUES, seeds=SEEDS))
        first = 0.0
        while True:
            m = await got.get()
            if isinstance(m, Rows) and not first:
                first = time.perf_counter()
            if isinstance(m, Status) and m.state == "running" and m.step >= STEPS:
                break
            if isinstance(m, Status) and m.state in ("done", "failed", "stopped"):
                break
            if isinstance(m, Rows) and m.steps[-1] >= STEPS:
                break
        spans.append(time.perf_counter() - first)
        while not (isinstance(m, Status) and m.state in ("done", "failed", "stopped")):
            m = await got.get()
    await service.close()
    return spans


def rows() -> list[dict[str, Any]]:
    from tests.benchmarks.steps import row

    with tempfile.TemporaryDirectory() as state:
        os.environ["LEMMASCOPE_STATE"] = state
        bare(), asyncio.run(in_workers(1))
        pairs = [(bare(), asyncio.run(in_workers(2))[-1]) for _ in range(ROUNDS)]
    got = statistics.median(b / w for b, w in pairs)
    return [
        row("training in a worker, recorded and journalled, over the bare generator", 0.95, got)
    ]
