"""Before the first worker lives, and where none does: nothing wrong is said, nobody waits for ever."""

import asyncio
import sys
from pathlib import Path

import pytest

from engine.client import Client, Failed
from engine.messages import Open, Opened, Refused
from engine.running import pool
from engine.running.service import Service


def ends_at_once(connection):
    sys.exit(7)


def test_workers_that_all_end_are_said_and_not_waited_for(monkeypatch):
    monkeypatch.setattr(pool, "_serve", ends_at_once)

    async def begin():
        async with Client(workers=1):
            pass

    with pytest.raises(Failed, match=r"worker processes keep ending \(.*exit code 7"):
        asyncio.run(asyncio.wait_for(begin(), 60))


def test_a_file_that_is_opened_before_the_first_worker_is_warm_knows_what_is_installed():
    path = Path(__file__).parents[3] / "resources" / "sessions" / "matrix_sensing.lemma.h5"

    async def opened():
        said = asyncio.Queue()
        service = Service(said.put_nowait, workers=1)
        await service.start()
        service.send(Open(str(path)))
        messages = [await said.get()]
        while not isinstance(messages[-1], Opened):
            messages.append(await said.get())
        await service.close()
        return messages

    messages = asyncio.run(asyncio.wait_for(opened(), 60))
    assert messages[-1].runs and not messages[-1].why
    assert not [m for m in messages if isinstance(m, Refused)]
