"""Measured comparisons, each a paired ratio within one run: `python3 packaging/bootstrap.py bench [--json]`."""

from __future__ import annotations

import json
import platform
import sys
from pathlib import Path

from tests.benchmarks import steps

HERE = Path(__file__).parent


def main(words: list[str]) -> int:
    if wrong := [w for w in words if w != "--json"]:
        print(f"bench: {wrong[0]} is not --json", file=sys.stderr)
        return 2
    rows = steps.rows()
    if "--json" in words:
        print(json.dumps(rows))
        return 0
    lines = ["| what | want at least | got | met |", "| --- | --- | --- | --- |"]
    for r in rows:
        lines.append(
            f"| {r['what']} | {r['want']:g} {r['unit']} | {r['got']:.3g} {r['unit']} | {'yes' if r['met'] else 'no'} |"
        )
    table = "\n".join(lines)
    print(table)
    text = (
        "# Benchmarks\n\nMedians of paired ratios, both sides measured in turn in one process with one torch thread. The last table, on "
        f"{platform.processor() or platform.machine()}, {platform.system()}, Python {platform.python_version()}:\n\n"
    )
    (HERE / "README.md").write_text(text + table + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
