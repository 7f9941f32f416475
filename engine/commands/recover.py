"""`recover`: what a crash left, without the window."""

from __future__ import annotations

import argparse
import asyncio
import os
import time

from engine.client import Client, Failed
from engine.commands.shared import out_path, report, run_json, say
from engine.messages import Open, Opened, Status
from engine.sessions import state
from engine.sessions.journal import Orphan
from engine.sessions.lock import Held


async def recover(args: argparse.Namespace) -> int:
    """Lists, saves or discards. What is saved is not offered again."""
    if args.out and args.discard:
        raise Failed("--out and --discard: a run is either saved or discarded")
    if (args.out or args.discard) and not args.number:
        raise Failed(
            f"{'--out' if args.out else '--discard'} needs the number of a run in the list"
        )
    if args.out:
        out_path(args.out)
    found = await asyncio.to_thread(state.orphans)
    if not args.number:
        return _list(found, args.json)
    if args.number > len(found):
        raise Failed(f"no run {args.number}; a crash left {len(found) or 'none'}")
    orphan = found[args.number - 1]
    if args.discard:
        try:
            await asyncio.to_thread(lambda: state.Left(orphan.path).discard())
        except Held as e:
            raise Failed(f"{e.who} has opened it") from None
        _done(args.json, {"discarded": orphan.experiment, "steps": orphan.steps},
              f"discarded {orphan.experiment}, {orphan.steps} steps")  # fmt: skip
        return 0
    async with Client(1) as client:
        opened = await client.ask(Open(orphan.path), lambda m: isinstance(m, Opened))
        if not opened.runs:
            raise Failed(opened.why)
        run = client.service.runs[opened.runs[0]]
        left = client.service.files.recovered.pop(run.id)  # what is not saved stays on offer
        try:
            if args.out:
                await client.save(os.path.abspath(args.out), [run])
                await asyncio.to_thread(left.discard)
        finally:
            left.release()
        if args.json:
            say(run_json(run) | {"file": args.out})
        else:
            report(run, run.status or Status(run.id, "paused", 0), args.out)
    return 0


def _list(found: list[Orphan], as_json: bool) -> int:
    rows = [{"experiment": o.experiment, "steps": o.steps, "last": o.last} for o in found]
    lines = [
        f"{i}  {o.experiment}, {o.steps} steps, last {time.strftime('%Y-%m-%d %H:%M', time.localtime(o.last))}"
        for i, o in enumerate(found, 1)
    ]
    _done(as_json, {"runs": rows}, "\n".join(lines) or "no crash has left anything")
    return 0


def _done(as_json: bool, value: dict[str, object], text: str) -> None:
    if as_json:
        say(value)
    else:
        print(text)
