"""A run as a program: what "Copy as Python" gives. Changes of hot knobs are in it, as the command line has no words for them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol

import numpy as np

from engine.messages import Array, Changed
from engine.spec import Value

PROGRAM = '''"""{title}"""

import asyncio

from engine.client import Client
{imports}

async def main():
    async with Client() as engine:
        run = await engine.begin(
{arguments}
        )
        status = await engine.finish(run)
        print(status.state, "after", status.step, "steps", status.why)
        for rows in run.trace_rows():  # values are (steps, members, …)
            print(rows.metric, rows.steps.shape, rows.values.shape)
        for verdict in run.judged.values():
            print(verdict.outcome, verdict.text, verdict.measured, verdict.expected)
        return run


if __name__ == "__main__":
    asyncio.run(main())
'''


class Trained(Protocol):
    """A `Started`, or a run as the window knows it."""

    @property
    def experiment(self) -> str: ...
    @property
    def values(self) -> Mapping[str, Value]: ...
    @property
    def sweep(self) -> Mapping[str, Sequence[Value]]: ...
    @property
    def members(self) -> Mapping[str, Array]: ...
    @property
    def dtype(self) -> str: ...
    @property
    def device(self) -> str: ...


def python_of(run: Trained, changes: Iterable[Changed] = (), title: str = "") -> str:
    """A program that trains this run again, bit for bit on the same machine."""
    seeds = np.unique(run.members["seed"])
    given = {
        "experiment": run.experiment,
        "values": run.values,
        "sweep": run.sweep,
        "seeds": len(seeds),
        "first_seed": int(seeds.min()),
        "dtype": run.dtype,
        "device": run.device,
    }
    lines = [
        f"            {k}={_text(v)},".replace("\n", "\n            ") for k, v in given.items()
    ]
    moved = list(changes)
    if moved:
        lines.append("            changes=(")
        lines += [
            f'                Changed("", {c.step}, {c.knob!r}, {_text(c.value)}, {c.first}),'
            for c in moved
        ]
        lines.append("            ),")
    return PROGRAM.format(
        title=(title or run.experiment).replace("\\", "\\\\").replace('"', '\\"'),
        imports="from engine.messages import Changed\n" if moved else "",
        arguments="\n".join(lines),
    )


def _text(value: object) -> str:
    """Source of plain data; numpy's numbers as Python's."""
    if isinstance(value, Mapping):
        inside = ", ".join(f"{k!r}: {_text(v)}" for k, v in value.items())
        return f"{{{inside}}}"
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(_text(v) for v in value)}]"
    return repr(value.item() if isinstance(value, np.generic) else value)
