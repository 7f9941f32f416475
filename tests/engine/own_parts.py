"""What the tests of users' own experiments share."""

import hashlib
from pathlib import Path

from engine import strangers
from engine.commands.template import text

GOOD = text("mine")
STEP = 'return {"x": state["x"] - hp.lr * gradient}'
TITLE = 'title="Noisy gradients stall at a floor"'


def put(folder, name, source):
    path = folder / f"{name}.py"
    path.write_text(source, encoding="utf-8")
    return path


def sha(path):
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()


def allow(path):
    strangers.decide(str(path), sha(path))
