"""`run`: train an experiment and judge its claims."""

from __future__ import annotations

import argparse
import contextlib
import sys
from collections.abc import Iterable
from typing import Any

from engine.client import Client, Failed
from engine.commands.shared import Progress, find, follow, out_path, report, run_json, say


def settings(pairs: Iterable[str]) -> tuple[dict[str, Any], dict[str, list[Any]]]:
    """`k=v` to values, `k=v1,v2` to a sweep; the engine checks them."""
    values: dict[str, Any] = {}
    sweep: dict[str, list[Any]] = {}
    for pair in pairs:
        name, equals, text = pair.partition("=")
        if not equals or not name or not text:
            raise Failed(f"--set {pair} is not KNOB=VALUE")
        if "," in text:
            sweep[name] = [number(v) for v in text.split(",") if v]
        else:
            values[name] = number(text)
    return values, sweep


def number(text: str) -> Any:
    with contextlib.suppress(ValueError):
        return int(text)
    with contextlib.suppress(ValueError):
        return float(text)
    return text


async def run(args: argparse.Namespace) -> int:
    values, sweep = settings(args.set)
    if args.steps is not None:
        values["steps"] = args.steps
    if args.out:
        out_path(args.out)
    async with Client() as client:
        card = find(client, args.name)
        assert client.catalogue is not None
        device = "cuda:0" if args.device == "cuda" else args.device
        if device not in client.catalogue.devices:
            raise Failed(
                f"--device {args.device} is not one of {', '.join(client.catalogue.devices)}"
            )
        if args.steps is not None and all(k.name != "steps" for k in card.knobs):
            raise Failed(f"{card.name} does not train: it has no steps")
        started = await client.begin(
            experiment=args.name,
            values=values,
            sweep=sweep,
            seeds=args.seeds,
            first_seed=args.first_seed,
            dtype=args.dtype,
            device=device,
            preset=args.preset,
        )
        status = await follow(client, started, Progress(1000, args.name))
        if args.out:
            await client.save(args.out, [started])
        if args.json:
            say(run_json(started))
        else:
            report(started, status, args.out)
        if status.state == "paused":
            return 130
        if status.state == "failed":
            print(f"lemmascope: {status.why}", file=sys.stderr)
            return 1
    return 0
