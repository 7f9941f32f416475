"""A machine on which no worker lives: one sentence, and no waiting for ever."""

import asyncio
import sys

import pytest

from engine.client import Client, Failed
from engine.running import pool


def ends_at_once(connection):
    sys.exit(7)


def test_workers_that_all_end_are_said_and_not_waited_for(monkeypatch):
    monkeypatch.setattr(pool, "_serve", ends_at_once)

    async def begin():
        async with Client(workers=1):
            pass

    with pytest.raises(Failed, match=r"worker processes keep ending \(.*exit code 7"):
        asyncio.run(asyncio.wait_for(begin(), 60))
