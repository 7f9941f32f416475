"""What commands share: progress on a terminal, waiting for a run, a run as JSON and as lines of text."""

from __future__ import annotations

import asyncio
import contextlib
import json
import math
import os
import signal
import sys
import time
from typing import Any

import numpy as np

from engine import strangers
from engine.client import Client, Failed
from engine.messages import Card, Control, Judged, Rows, Status
from engine.running.runs import Run, plain

MARK = {"holds": "✓", "fails": "✕", "undecided": "□"}


def say(value: Any) -> None:
    print(json.dumps(plain(value), ensure_ascii=False))


def find(client: Client, name: str) -> Card:
    assert client.catalogue is not None
    cards = {c.name: c for c in client.catalogue.cards}
    if name in cards:
        return cards[name]
    if strangers.is_own(name):
        strangers.permitted(name)  # says what is wrong with it, if it is not enabled …
        found = [s for s in client.catalogue.strangers if strangers.name_of(s.path) == name]
        raise Failed(
            found[0].problem if found else f"{name} was not loaded"
        )  # … or why it has no card
    ours = [p for p in client.catalogue.problems if name.replace("/", ".") in p]
    raise Failed(ours[0] if ours else f"no experiment {name}; there are {', '.join(cards)}")


class Progress:
    """A bar on a terminal; nothing elsewhere."""

    def __init__(self, total: int, label: str = "", on: bool = True) -> None:
        self.total, self.label = max(1, total), label
        self.on = on and sys.stderr.isatty()
        self.begun = self.drawn = time.monotonic()

    def at(self, done: float, text: str = "") -> None:
        now = time.monotonic()
        if not self.on or (now - self.drawn < 0.1 and done < self.total):
            return
        self.drawn = now
        part = min(1.0, done / self.total)
        left = (now - self.begun) * (1 - part) / part if part > 0.02 else math.nan
        eta = f"  {left:4.0f} s left" if math.isfinite(left) else ""
        bar = "█" * round(24 * part) + "░" * (24 - round(24 * part))
        print(
            f"\r\x1b[K{self.label} {bar} {part:4.0%}{eta}  {text}",
            end="",
            file=sys.stderr,
            flush=True,
        )

    def close(self) -> None:
        if self.on:
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)


async def follow(client: Client, run: Run, progress: Progress) -> Status:
    """Waits for the end of a run; Ctrl-C pauses it, so that what it has can be saved."""
    steps = max(1, run.started.steps)

    def heard(m: Any) -> None:
        if isinstance(m, (Rows, Status)) and m.run == run.id:
            at = m.step if isinstance(m, Status) else int(m.steps[-1])
            progress.at(progress.total * at / steps, f"step {at}")

    loop = asyncio.get_running_loop()
    with contextlib.suppress(NotImplementedError, ValueError):
        loop.add_signal_handler(
            signal.SIGINT, lambda: client.service.send(Control(run.id, "pause"))
        )
    client.listeners.append(heard)
    try:
        return await client.finish(run)
    finally:
        client.listeners.remove(heard)
        with contextlib.suppress(NotImplementedError, ValueError):
            loop.remove_signal_handler(signal.SIGINT)
        progress.close()


def rows_json(run: Run) -> dict[str, Any]:
    """metric -> steps and values[member][step]; stacks of a sweep follow one another."""
    out: dict[str, Any] = {}
    for rows in sorted(run.trace_rows(), key=lambda r: r.first):
        each = np.moveaxis(rows.values, 1, 0).tolist()
        entry = out.setdefault(rows.metric, {"steps": rows.steps.tolist(), "values": []})
        entry["values"] += each
        if entry["steps"] != rows.steps.tolist():  # a stack that stopped earlier
            entry.setdefault("member_steps", {})[str(rows.first)] = rows.steps.tolist()
        if rows.coords is not None:
            entry["coords"] = rows.coords.tolist()
    return out


def predictions_json(run: Run) -> dict[str, Any]:
    """name -> metric, steps, values[step] where it speaks for all members, else values[member][step]."""
    out: dict[str, Any] = {}
    for (name, _), p in sorted(run.predicted.items(), key=lambda i: i[0][1]):
        each = np.moveaxis(p.values, 1, 0).tolist()
        whole = p.count == len(run.started.members["seed"]) and len(each) == 1
        entry = out.setdefault(
            name, {"metric": p.metric, "steps": p.steps.tolist(), "values": [], "label": p.text}
        )
        entry["valid"] = entry.get("valid", True) and p.valid
        if p.broken:
            entry["broken"] = list(p.broken)
        if whole:
            entry["values"] = each[0]
        else:
            entry["values"] += each * (p.count if len(each) == 1 else 1)
    return out


def claim_json(j: Judged) -> dict[str, Any]:
    return {
        "key": j.claim,
        "text": j.text,
        "outcome": j.outcome,
        "measured": j.measured,
        "expected": j.expected,
        "spread": j.spread,
        "side": j.side,
        "why": j.why,
        "broken": list(j.broken),
    }


def run_json(run: Run) -> dict[str, Any]:
    s, status = run.started, run.status
    return {
        "experiment": s.experiment,
        "run": s.run,
        "values": s.values,
        "sweep": s.sweep,
        "seeds": len(np.unique(s.members["seed"])),
        "steps": s.steps,
        "dtype": s.dtype,
        "device": s.device,
        "members": {
            k: [s.choices[k][i] for i in v] if k in s.choices else v.tolist()
            for k, v in s.members.items()
        },
        "state": status.state if status else "queued",
        "step": status.step if status else 0,
        "why": status.why if status else "",
        "metrics": rows_json(run),
        "predictions": predictions_json(run),
        "claims": [claim_json(j) for j in run.judged.values()],
        "environment": s.environment,
    }


def figure(value: float) -> str:
    return f"{value:.4g}" if math.isfinite(value) else "–"


def claim_line(j: Judged) -> str:
    relation = {"==": "expected", "<=": "bound ≤", ">=": "bound ≥"}[j.side]
    why = f"  ({j.why})" if j.why else ""
    return (
        f"{MARK[j.outcome]} {j.outcome}: {j.text}: measured {figure(j.measured)}, "
        f"{relation} {figure(j.expected)}, spread {figure(j.spread)}{why}"
    )


def out_path(path: str) -> str:
    folder = os.path.dirname(os.path.abspath(path))
    if not os.path.isdir(folder):
        raise Failed(f"{path} cannot be written: there is no folder {folder}")
    return path


def report(run: Run, status: Status, out: str = "") -> None:
    s = run.started
    knobs = ", ".join(f"{k} = {v:g}" if isinstance(v, float) else f"{k} = {v}" for k, v in s.values.items()
                      if k not in s.sweep)  # fmt: skip
    swept = "".join(f", {k} swept over {', '.join(map(str, v))}" for k, v in s.sweep.items())
    print(
        f"{s.experiment}: {knobs}{swept}; {len(np.unique(s.members['seed']))} seeds, {s.dtype}, {s.device}"
    )
    why = f" ({status.why})" if status.why else ""
    print(f"{status.state} after {status.step} of {s.steps} steps{why}")
    for j in run.judged.values():
        print(claim_line(j))
    if out:
        print(f"saved {out}")
