"""`info`, `replay`, `resume`, `export`: what can be done with a session file."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import functools
import importlib
import os
import signal
from typing import Any

import numpy as np

from engine.client import Client, Failed
from engine.commands.shared import Progress, find, follow, out_path, report, run_json, say
from engine.messages import Control, Status
from engine.running.runs import ENDED, Run, replayed
from engine.sessions import loader


def pick(runs: list[Run], name: str) -> list[tuple[int, Run]]:
    numbered = list(enumerate(runs, 1))
    if not name:
        return numbered
    for i, r in numbered:
        if name in (str(i), r.id):
            return [(i, r)]
    raise Failed(f"no run {name} in the file; it holds {len(runs)}: 1 to {len(runs)}")


async def opened(client: Client, path: str) -> list[Run]:
    return await client.open(os.path.abspath(path))


async def info(args: argparse.Namespace) -> int:
    session = await asyncio.to_thread(loader.load, os.path.abspath(args.file))
    runs = [replayed(ms, str(i)) for i, ms in enumerate(session.runs, 1)]
    if args.json:
        keep = ("experiment", "run", "values", "sweep", "seeds", "steps", "dtype", "device", "state", "step",
                "why", "claims", "environment")  # fmt: skip
        rows = [{k: v for k, v in run_json(r).items() if k in keep} for r in runs]
        say({"file": args.file, "notes": session.notes, "runs": rows})
        return 0
    print(f"{args.file}: {len(runs)} runs{f'; {session.notes}' if session.notes else ''}")
    for i, r in enumerate(runs, 1):
        print(f"run {i}, started {r.started.started}")
        report(r, r.status or Status(r.id, "paused", 0))
    return 0


def compare(was: Run, now: Run) -> dict[str, Any]:
    """Metric by metric over the steps that the file holds: bit-equal, within tolerance, differs."""
    rtol = 1e-3 if was.started.dtype == "float32" else 1e-9
    metrics: dict[str, Any] = {}
    fresh = {(r.metric, r.first): r for r in now.trace_rows()}
    for old in was.trace_rows():
        new = fresh.get((old.metric, old.first))
        at = np.isin(new.steps, old.steps) if new is not None else None
        if new is None or at is None or at.sum() != len(old.steps):
            metrics[old.metric] = {"outcome": "differs", "max_difference": None}
            continue
        a, b = old.values, new.values[at]
        same = a.shape == b.shape and np.array_equal(a, b, equal_nan=True)
        scale = float(np.nanmax(np.abs(a), initial=0.0)) or 1.0
        gap = 0.0 if same else float(np.nanmax(np.abs(a - b), initial=0.0)) / scale
        word = "bit-equal" if same else "within tolerance" if gap <= rtol else "differs"
        before = metrics.get(old.metric, {"outcome": "bit-equal", "max_difference": 0.0})
        order = ("bit-equal", "within tolerance", "differs")
        worst = max(word, before["outcome"], key=order.index)
        metrics[old.metric] = {
            "outcome": worst,
            "max_difference": max(gap, before["max_difference"] or 0.0),
        }
    order = ("bit-equal", "within tolerance", "differs")
    overall = max((m["outcome"] for m in metrics.values()), key=order.index, default="differs")
    return {"outcome": overall, "metrics": metrics}


async def replay(args: argparse.Namespace) -> int:
    outcomes = []
    async with Client() as client:
        for number_, was in pick(await opened(client, args.file), args.run):
            request = was.request()
            changes = tuple(was.changes)
            now = await client.begin(
                experiment=request.experiment,
                values=request.values,
                sweep=request.sweep,
                seeds=request.seeds,
                first_seed=request.first_seed,
                dtype=request.dtype,
                device=request.device,
                changes=changes,
            )
            status = await follow(client, now, Progress(1000, f"run {number_}"))
            if status.state == "paused":
                return 130
            result: dict[str, Any] = {"run": number_, "experiment": request.experiment}
            result |= compare(was, now)
            then, code = (r.started.environment.get("experiment", "") for r in (was, now))
            if then != code:
                result["note"] = f"{request.experiment} is another file than then"
            outcomes.append(result)
            if not args.json:
                note = f"; {result['note']}" if "note" in result else ""
                print(f"run {number_} ({request.experiment}): {result['outcome']}{note}")
                for name, m in result["metrics"].items():
                    off = (
                        ""
                        if m["max_difference"] in (0.0, None)
                        else f", off by {m['max_difference']:.2g}"
                    )
                    print(f"  {name}: {m['outcome']}{off}")
    if args.json:
        say({"file": args.file, "runs": outcomes})
    return 0 if outcomes and all(o["outcome"] != "differs" for o in outcomes) else 1


def halted(message: object, run: str) -> bool:
    return (
        isinstance(message, Status) and message.run == run and message.state in (*ENDED, "paused")
    )


async def resume(args: argparse.Namespace) -> int:
    async with Client() as client:
        runs = await opened(client, args.file)
        went_on = []
        for number_, r in pick(runs, args.run):
            if r.overall()[0] != "paused":
                continue
            went_on.append(r)
            ended = functools.partial(halted, run=r.id)
            waiting = asyncio.ensure_future(client.wait(ended))
            await asyncio.sleep(0)
            await client.control(r, "resume")
            progress = Progress(1000, f"run {number_}")
            with contextlib.suppress(NotImplementedError, ValueError):
                asyncio.get_running_loop().add_signal_handler(
                    signal.SIGINT, client.service.send, Control(r.id, "pause")
                )
            status = await waiting
            progress.close()
            if not args.json:
                report(r, status)
        await client.save(os.path.abspath(args.out or args.file), runs)
        if args.json:
            say({"file": args.out or args.file, "runs": [run_json(r) for r in went_on]})
        elif not went_on:
            print("nothing to resume: every run has ended")
    return 0


async def export(args: argparse.Namespace) -> int:
    extension = os.path.splitext(args.to)[1].lower().lstrip(".")
    if extension not in ("png", "svg", "pdf", "csv"):
        raise Failed(f"--to {args.to} ends in none of .png, .svg, .pdf, .csv")
    out_path(args.to)
    session = await asyncio.to_thread(loader.load, os.path.abspath(args.file))
    runs = [replayed(ms, str(i)) for i, ms in enumerate(session.runs, 1)]
    number_, chosen = pick(runs, args.run or "1")[0]
    card = session.cards.get(chosen.started.experiment)
    if card is None:
        async with Client(1, keep=False) as client:
            card = find(client, chosen.started.experiment)
    importlib.import_module("desktop.headless").export(chosen.messages(), card, args.to)
    print(f"wrote run {number_} to {args.to}")
    return 0
