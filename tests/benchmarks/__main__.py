"""Measured comparisons, each a paired ratio within one run: `python3 packaging/bootstrap.py bench [--json]`."""

from __future__ import annotations

import importlib
import json
import os
import platform
import subprocess
import sys
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
GROUPS = ("steps", "window", "sessions", "starting")  # modules here that have `rows()`


def machine() -> str:
    """The processor by its name, if the system tells it."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        name = next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))  # fmt: skip
    except (OSError, StopIteration):
        name = platform.processor() or platform.machine()
    return (
        f"{name}, {os.cpu_count()} cores, {platform.system()}, Python {platform.python_version()}"
    )


def measured(group: str) -> list[dict[str, Any]]:
    """A group's rows, measured in a process of its own so that none inherits another's threads, cores or memory."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.benchmarks", "--group", group],
        stdout=subprocess.PIPE, text=True, check=False,
    )  # fmt: skip
    if done.returncode:
        print(f"bench: {group} could not be measured", file=sys.stderr)
        return []
    rows: list[dict[str, Any]] = json.loads(done.stdout.splitlines()[-1])
    return rows


def table(rows: list[dict[str, Any]]) -> str:
    lines = ["| what | wanted | got | met |", "| --- | --- | --- | --- |"]
    for r in rows:
        got = f"{r['got']:.3g} {r['unit']}"
        if r["want"] is None:
            lines.append(f"| {r['what']} | | {got} | |")
        else:
            lines.append(
                f"| {r['what']} | {r['want']:g} {r['unit']} | {got} | {'yes' if r['met'] else 'no'} |"
            )
    return "\n".join(lines)


def main(words: list[str]) -> int:
    if words[:1] == ["--group"] and len(words) == 2 and words[1] in GROUPS:
        print(json.dumps(importlib.import_module(f"tests.benchmarks.{words[1]}").rows()))
        sys.stdout.flush()
        os._exit(0)  # Qt and JAX have nothing more to do
    if wrong := [w for w in words if w != "--json"]:
        print(f"bench: {wrong[0]} is not --json", file=sys.stderr)
        return 2
    rows = [r for g in GROUPS if (HERE / f"{g}.py").exists() for r in measured(g)]
    if not rows:
        return 1
    if "--json" in words:
        print(json.dumps(rows))
        return 0
    print(table(rows))
    text = (HERE / "README.md").read_text(encoding="utf-8")
    head, tail = text.split("<!-- table -->")[0], text.split("<!-- end -->")[-1]
    made = f"On {machine()}:\n\n{table(rows)}\n\n"
    (HERE / "README.md").write_text(
        f"{head}<!-- table -->\n{made}<!-- end -->{tail}", encoding="utf-8"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
