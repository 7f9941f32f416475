"""`first-run`: what a machine without a display shows of the application."""

from __future__ import annotations

import argparse
import importlib
import os

from engine.client import Client
from engine.commands.shared import Progress, follow, report

DEFAULT = "stability/edge_of_stability"


async def first_run(args: argparse.Namespace) -> int:
    """What a machine without a display shows of the application."""
    session = os.path.join(args.folder, "first-run.lemma.h5")
    picture = os.path.join(args.folder, "first-run.png")
    print(f"No display here: training {DEFAULT} without a window.", flush=True)
    async with Client() as client:
        assert client.catalogue is not None
        started = await client.begin(experiment=DEFAULT)
        status = await follow(client, started, Progress(1000, DEFAULT))
        await client.save(os.path.abspath(session), [started])
        report(started, status, session)
        messages = [client.catalogue, *started.messages()]
    importlib.import_module("desktop.headless").picture(picture, messages)
    print(f"drew {picture}")
    return 0
