"""R20: the same seeds give the same weights to the bit in fresh processes, also if a worker was killed on the way.

Two processes and one with a kill; with `--long` five and five.
"""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

PROGRAM = """
import asyncio, hashlib, sys
from engine.client import Client
from engine.messages import Checkpoint, Status

NAME, VALUES = "in_context/linear_attention", {"steps": 400, "prompt_length": 8}

async def main(dies):
    async with Client(workers=1, keep=False) as client:
        run = await client.begin(experiment=NAME, values=VALUES, seeds=2, first_seed=3)
        killed = False
        if dies:
            await client.wait(lambda m: isinstance(m, Checkpoint) and m.step > 0)
            for w in client.service.crew.of(run.id):
                w.kill()
                killed = True
            status = await client.finish(run)
            assert killed and status.state == "failed", status
            assert 0 < run.stacks[0].step < VALUES["steps"], run.stacks[0].step
            await client.control(run, "resume")
            await client.wait(lambda m: isinstance(m, Status) and m.state == "running")
        status = await client.finish(run)
        assert status.state == "done", status
        h = hashlib.sha256()
        for name, array in sorted(run.checkpoints[(0, VALUES["steps"])].items()):
            h.update(name.encode() + array.tobytes())
        for rows in sorted(run.trace_rows(), key=lambda r: r.metric):
            h.update(rows.metric.encode() + rows.steps.tobytes() + rows.values.tobytes())
        print(h.hexdigest())

if __name__ == "__main__":
    asyncio.run(asyncio.wait_for(main("kill" in sys.argv), 200))
"""


def hashed(program, *words):
    done = subprocess.run(
        [sys.executable, str(program), *words],
        cwd=ROOT, capture_output=True, text=True, check=False, timeout=240,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout.strip()


@pytest.fixture
def program(tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    path = tmp_path / "train.py"
    path.write_text(PROGRAM)
    return path


def test_fresh_processes_give_the_same_bits_also_after_a_kill(program, request):
    times = 5 if request.config.getoption("--long") else 2
    plain = [hashed(program) for _ in range(times)]
    killed = [hashed(program, "kill") for _ in range(times if times > 2 else 1)]
    assert len({*plain, *killed}) == 1, (plain, killed)
    assert len(plain[0]) == 64
