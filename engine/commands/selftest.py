"""`selftest`: is this installation whole? Every experiment trains, is drawn, saved, reopened, exported and shown."""

from __future__ import annotations

import argparse
import importlib
import os
import tempfile
from typing import Any

from engine import strangers
from engine.client import Client
from engine.commands.shared import say
from engine.messages import Card

STEPS = 20


async def selftest(args: argparse.Namespace) -> int:
    done: list[tuple[str, str]] = []  # what, why not (empty: it works)

    def note(what: str, why: str = "") -> None:
        done.append((what, why))
        if not args.json:
            print(f"{'ok  ' if not why else 'WRONG'} {what}{f': {why}' if why else ''}", flush=True)

    with tempfile.TemporaryDirectory() as folder:
        async with Client(keep=False) as client:
            assert client.catalogue is not None
            for problem in client.catalogue.problems:
                note("catalogue", problem)
            if not client.catalogue.cards:
                note("catalogue", "it holds no experiment")
            for card in client.catalogue.cards:
                if strangers.is_own(card.name):
                    continue  # no part of the installation
                try:
                    note(card.name, await _one(client, card, folder))
                except Exception as e:  # the test's purpose is to say so and go on
                    note(card.name, f"{type(e).__name__}: {e}")
    wrong = [d for d in done if d[1]]
    if args.json:
        say({"checks": [{"what": w, "ok": not y, "why": y} for w, y in done], "ok": not wrong})
    else:
        print(f"{len(done) - len(wrong)} of {len(done)} work")
    return 1 if wrong else 0


async def _one(client: Client, card: Card, folder: str) -> str:
    trains = any(k.name == "steps" for k in card.knobs)
    values: dict[str, Any] = {"steps": STEPS} if trains else {}
    run = await client.begin(experiment=card.name, values=values, seeds=1)
    status = await client.finish(run)
    if status.state not in ("done", "stopped"):
        return f"it {status.state}: {status.why}"
    if not run.columns or (card.predictions and not run.predicted):
        return "it gave no readings or no theory"
    path = os.path.join(folder, card.name.replace("/", "-") + ".lemma.h5")
    await client.save(path, [run])
    (back,) = await client.open(path)
    if {r.metric for r in back.trace_rows()} != {r.metric for r in run.trace_rows()}:
        return "the reopened session lacks readings"
    headless = importlib.import_module("desktop.headless")
    assert client.catalogue is not None
    for extension in ("svg", "pdf", "png", "csv"):
        target = f"{path}.{extension}"
        headless.export(back.messages(), card, target)
        if os.path.getsize(target) < 100:
            return f"the {extension} is empty"
    headless.picture(f"{path}.window.png", [client.catalogue, *back.messages()])
    return ""
