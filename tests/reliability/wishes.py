"""What the model of `test_machine_service` knows: what a person wanted of a run, what must be kept of it."""

from __future__ import annotations

import contextlib
import re
from dataclasses import dataclass

import pytest

from engine.messages import Changed, Checkpoint, Rows
from engine.running import crew
from engine.sessions import disk, loader, session
from tests.reliability.cardboard import Worker

UNFORESEEN = re.compile(r"^\w*(Error|Exception|Exit)\b")


@contextlib.contextmanager
def patched():
    """Cardboard for processes; files are written and read in this one."""
    with pytest.MonkeyPatch.context() as m:
        m.setattr(crew, "Worker", Worker)
        m.setattr(disk, "sync", lambda fd: None)
        m.setattr(disk, "sync_folder", lambda folder: None)
        m.setattr(loader, "load", session.read)
        yield


@dataclass
class Asked:
    """What a person wanted of a run."""

    wants: str = "running"  # or paused, cancelled, step
    until: int = -1
    lr: float | None = None  # as it was set last, where nothing may have got in its way
    refused: bool = False
    forgotten: bool = False
    trained: bool = False  # since it was saved last
    perhaps: bool = False  # was in training while it was saved: its journal may stay
    hurt: bool = False  # a worker died, or tripped, over it


def content(messages):
    """What of a run must be in a journal or a session: readings by step, changes, checkpoints."""
    out = {}
    for m in messages:
        if isinstance(m, Rows):
            out |= {
                ("row", m.first, int(s)): v.tolist() for s, v in zip(m.steps, m.values, strict=True)
            }
        elif isinstance(m, Changed):
            out["change", m.first, m.step, m.knob] = m.value
        elif isinstance(m, Checkpoint):
            out["checkpoint", m.first, m.step] = m.arrays["params/w"].tolist()
    return out
