"""The window's service, a run in this process, the command line and a copied program give the same arrays."""

import asyncio
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from engine import catalogue
from engine.cli import main
from engine.client import Client
from engine.messages import Changed
from engine.running.local import run_local
from engine.twin import python_of

ROOT = Path(__file__).parents[2]
FOUND, _ = catalogue.load()
NAME = "stability/edge_of_stability"
SMALL = {"width": 16, "depth": 1, "steps": 40}


@pytest.fixture(scope="module")
def served():
    """name -> (metric, first) -> Rows, of a short run of every experiment in worker processes."""

    async def work():
        out = {}
        async with Client(2) as client:
            for name, ex in FOUND.items():
                values = {"steps": 12} if ex.step is not None else {}
                run = await client.begin(experiment=name, values=values, seeds=2)
                assert (await client.finish(run)).state == "done", (name, run.status)
                out[name] = {(r.metric, r.first): r for r in run.trace_rows()}
        return out

    return asyncio.run(work())


@pytest.mark.parametrize("name", FOUND)
def test_a_run_in_this_process_gives_the_services_arrays(served, name):
    ex = FOUND[name]
    here = run_local(ex, {"steps": 12} if ex.step is not None else {}, seeds=2)
    seen = 0
    for first, stack in zip(here.plan.firsts, here.stacks, strict=True):
        for metric, series in stack.trace.items():
            rows = served[name][(metric, first)]
            np.testing.assert_array_equal(rows.steps, series.steps)
            np.testing.assert_array_equal(rows.values, series.values, err_msg=metric)
            seen += 1
    assert seen == len(served[name]) >= len(ex.metrics)


def test_the_command_line_gives_the_services_arrays(served, capsys):
    assert main(["run", NAME, "--steps", "12", "--seeds", "2", "--json"]) == 0
    got = json.loads(capsys.readouterr().out)["metrics"]
    for (metric, _), rows in served[NAME].items():
        assert got[metric]["steps"] == rows.steps.tolist()
        np.testing.assert_array_equal(
            np.asarray(got[metric]["values"], rows.values.dtype).T, rows.values
        )
    assert set(got) == {m for m, _ in served[NAME]}


def test_other_seeds_can_be_asked_for(capsys):
    words = ["run", NAME, "--steps", "3", "--set", "width=8", "--json", "--seeds"]
    assert main([*words, "3"]) == 0
    whole = json.loads(capsys.readouterr().out)
    assert main([*words, "1", "--first-seed", "2"]) == 0
    third = json.loads(capsys.readouterr().out)
    assert third["members"]["seed"] == [2]
    a, b = whole["metrics"]["loss"]["values"][2], third["metrics"]["loss"]["values"][0]
    np.testing.assert_allclose(a, b, rtol=1e-6)


def test_a_copied_program_repeats_the_run_with_its_changes(tmp_path):
    async def work():
        async with Client(1) as client:
            moved = (Changed("", 9, "lr", 0.05, 0), Changed("", 20, "lr", 0.2, 0))
            run = await client.begin(
                experiment=NAME, values=SMALL, seeds=2, first_seed=3, dtype="float64", changes=moved
            )
            await client.finish(run)
            return run

    run = asyncio.run(work())
    text = python_of(run.started, run.changes, 'A "title" \\ with """marks"""')
    assert text.count("Changed(") == 2
    program = tmp_path / "program.py"
    told = "print(repr({r.metric: r.values.tolist() for r in asyncio.run(main()).trace_rows()}))"
    program.write_text(text.replace("asyncio.run(main())", told), encoding="utf-8")
    done = subprocess.run(
        [sys.executable, program], cwd=tmp_path, env={"PYTHONPATH": str(ROOT)}, capture_output=True,
        text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    got = eval(done.stdout.splitlines()[-1], {"nan": float("nan")})
    assert set(got) == {r.metric for r in run.trace_rows()}
    for rows in run.trace_rows():
        np.testing.assert_array_equal(got[rows.metric], rows.values)
    plain = python_of(run.started)
    assert "Changed" not in plain
    compile(plain, "program.py", "exec")


def test_a_program_of_a_sweep_is_python(served):
    async def work():
        async with Client(1) as client:
            run = await client.begin(
                experiment="kernels/feature_learning", values={"steps": 2}, seeds=1,
                sweep={"lr": [0.05, 0.1], "parametrisation": ["mup", "ntk"]},
            )  # fmt: skip
            await client.finish(run)
            return run.started

    started = asyncio.run(work())
    text = python_of(started)
    assert f"sweep={started.sweep!r}" in text
    compile(text, "program.py", "exec")
