"""From parsed arguments to a command; what goes wrong becomes one line."""

from __future__ import annotations

import argparse
import asyncio
import importlib
import sys

from engine.client import Failed

PLACES = {
    "list": "catalogue.list_",
    "show": "catalogue.show",
    "run": "run.run",
    "verify": "verify.verify",
    "replay": "sessions.replay",
    "resume": "sessions.resume",
    "info": "sessions.info",
    "export": "sessions.export",
    "first-run": "first_run.first_run",
    "selftest": "selftest.selftest",
    "recover": "recover.recover",
    "own": "own.own",
    "new": "own.new",
    "check": "own.check",
}


def dispatch(args: argparse.Namespace) -> int:
    module, _, name = PLACES[args.command].partition(".")
    handler = getattr(importlib.import_module(f"engine.commands.{module}"), name)
    try:
        return int(asyncio.run(handler(args)))
    except BrokenPipeError:
        raise
    except (Failed, ValueError, OSError) as e:
        print(f"lemmascope: {e}", file=sys.stderr)
        return 2
