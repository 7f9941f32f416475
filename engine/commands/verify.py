"""`verify`: every claim at every preset against the outcome that the preset declares."""

from __future__ import annotations

import argparse
import asyncio
import sys
from typing import Any

from engine.client import Client, Failed
from engine.commands.shared import Progress, claim_json, claim_line, find, say
from engine.messages import Card, Judged


def declared(outcome: Judged, expected: str) -> bool:
    if expected == "broken":
        return outcome.outcome == "undecided" and bool(outcome.broken)
    return outcome.outcome == expected


async def verify(args: argparse.Namespace) -> int:
    if not args.names and not args.all:
        raise Failed("verify needs a NAME or --all")
    results: list[dict[str, Any]] = []
    async with Client(keep=False) as client:
        assert client.catalogue is not None
        for problem in client.catalogue.problems:
            print(f"lemmascope: {problem}", file=sys.stderr)
        cards = (
            [find(client, n) for n in args.names] if args.names else list(client.catalogue.cards)
        )
        work = [(c, p) for c in cards for p in c.presets]
        progress = Progress(len(work), "verify", on=not args.json)
        device = "cuda:0" if args.device == "cuda" else args.device
        gate = asyncio.Semaphore(client.service.crew.size)

        async def one(card: Card, preset: Any) -> None:
            async with gate:
                started = await client.begin(
                    experiment=card.name, preset=preset.name, device=device
                )
                status = await client.finish(started)
            progress.close()
            for claim in card.claims:
                want = preset.expects[claim.key]
                j = started.judged.get(claim.key)
                ok = j is not None and declared(j, want)
                entry = {
                    "experiment": card.name,
                    "preset": preset.name,
                    "declared": want,
                    "as_declared": ok,
                }
                entry |= (
                    claim_json(j)
                    if j
                    else {"key": claim.key, "outcome": "failed", "why": status.why}
                )
                results.append(entry)
                if not args.json:
                    line = claim_line(j) if j else f"✕ no verdict: {status.why}"
                    note = "" if ok and want == "holds" else f"  [declared: {want}]"
                    print(
                        f"{'ok  ' if ok else 'WRONG'} {card.name} @{preset.name} {line}{note}",
                        flush=True,
                    )
            client.service.runs.pop(started.id, None)
            progress.at(len({(r["experiment"], r["preset"]) for r in results}))

        await asyncio.gather(*(one(c, p) for c, p in work))
        progress.close()
        broken = bool(client.catalogue.problems)
    wrong = [r for r in results if not r["as_declared"]]
    if args.json:
        say({"claims": results, "as_declared": not wrong and not broken})
    else:
        print(f"{len(results) - len(wrong)} of {len(results)} verdicts as declared")
    return 1 if wrong or broken else 0
