"""`own`, `new`, `check`: a user's own experiments, listed, enabled by name, begun and put to the tests."""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
from pathlib import Path
from typing import Any

from engine import strangers
from engine.client import Failed
from engine.commands.shared import say
from engine.commands.template import text
from engine.messages import Card, Catalogue, Stranger
from engine.running.vetting import Vetting, examined

MEANING = """\
It is code. Enabled, it runs with your rights in Lemmascope's worker processes and can read, change and send whatever
you can; nobody has looked at it for you. If the file changes, it is off until you enable it again.
"""


def place(word: str) -> Path:
    """A file named by a path, or by its bare name in the folder of users' own experiments."""
    if os.path.dirname(word):
        return Path(os.path.abspath(word))
    return strangers.folder() / (word if word.endswith(".py") else f"{word}.py")


def state(s: Stranger) -> str:
    if s.problem:
        return s.problem
    if s.allowed:
        return "enabled"
    return "off: it has changed since it was enabled" if s.changed else "off"


async def own(args: argparse.Namespace) -> int:
    if args.action == "list":
        return await listed(args)
    if not args.file:
        raise Failed(f"own {args.action} needs a FILE")
    path = place(args.file)
    if args.action == "forbid":
        await asyncio.to_thread(strangers.decide, str(path), "")
        if args.json:
            say({"path": str(path), "enabled": False})
        else:
            print(f"{path} is off")
        return 0
    try:
        _, sha = await asyncio.to_thread(strangers.read, path)
    except strangers.Unfit as e:
        raise Failed(f"{path} cannot be enabled: it {e}") from None
    if path.parent != strangers.folder():
        raise Failed(f"{path} cannot be enabled: put it into {strangers.folder()}")
    confirmed = args.hash.lower()
    if not confirmed:
        print(f"{path}\nSHA-256 {sha}\n{MEANING}", end="", file=sys.stderr)
        if not sys.stdin.isatty():
            raise Failed(
                f"own allow asks on a terminal; without one, confirm the hash: --hash {sha}"
            )
        print("Enable it? Type yes: ", end="", file=sys.stderr, flush=True)
        if (await asyncio.to_thread(sys.stdin.readline)).strip().lower() != "yes":
            raise Failed(f"{path} stays off")
        confirmed = sha
    await asyncio.to_thread(strangers.decide, str(path), confirmed)
    if args.json:
        say({"path": str(path), "sha256": sha, "enabled": True})
    else:
        print(f"{path} is enabled as {strangers.name_of(path)}")
    return 0


async def listed(args: argparse.Namespace) -> int:
    """Enabled ones are loaded, in a process of their own, to say whether they can be."""
    vetting = Vetting()
    found = Catalogue((), (), (), await asyncio.to_thread(strangers.scan))
    await asyncio.to_thread(vetting.run, vetting.missing(found))
    found = vetting.merged(found)
    titles: dict[str, Card] = {c.name: c for c in found.cards}
    if args.json:
        say({"folder": str(strangers.folder()), "experiments": [entry(s) for s in found.strangers]})
        return 0
    if not found.strangers:
        print(
            f"there is none in {strangers.folder()}; `lemmascope new NAME` writes one to start from"
        )
    for s in found.strangers:
        card = titles.get(strangers.name_of(s.path))
        print(
            f"{s.path}\n  {s.sha256 or 'no hash'}\n  {state(s)}{f': {card.title}' if card else ''}"
        )
    return 0


def entry(s: Stranger) -> dict[str, Any]:
    return {
        "path": s.path,
        "name": strangers.name_of(s.path),
        "sha256": s.sha256,
        "enabled": s.allowed,
        "changed": s.changed,
        "problem": s.problem,
    }


async def new(args: argparse.Namespace) -> int:
    path = place(args.file)
    if not strangers.STEM.fullmatch(path.stem) or path.suffix != ".py":
        raise Failed(
            f"{path.name} is no name for an experiment: lower-case letters, digits and underscores, then .py"
        )
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with open(path, "x", encoding="utf-8") as f:
            f.write(text(path.stem))
    except FileExistsError:
        raise Failed(f"{path} is there already; it was left as it is") from None
    print(
        f"wrote {path}\nnext: change it, `lemmascope check {args.file}`, `lemmascope own allow {args.file}`"
    )
    return 0


async def check(args: argparse.Namespace) -> int:
    path = place(args.file)
    if not os.path.lexists(path) and os.path.lexists(args.file):
        path = Path(os.path.abspath(args.file))
    try:
        _, sha = await asyncio.to_thread(strangers.read, path)
    except strangers.Unfit as e:
        raise Failed(f"{path} {e}") from None
    results: list[dict[str, str]] = []
    if not args.json:
        print(f"{path}\nSHA-256 {sha}", flush=True)
    steps = examined(str(path), sha)
    try:
        while (one := await asyncio.to_thread(next, steps, None)) is not None:
            title, why = one
            results.append({"check": title, "wrong": why})
            if not args.json:
                print(f"{'✕' if why else '✓'} {title}{f': {why}' if why else ''}", flush=True)
    finally:
        steps.close()  # type: ignore[attr-defined]
    wrong = [r for r in results if r["wrong"]]
    if args.json:
        say({"path": str(path), "sha256": sha, "checks": results, "passed": not wrong})
    elif not wrong:
        print(
            f"next: its claims, `lemmascope own allow {args.file}` and `lemmascope verify {strangers.name_of(path)}`"
        )
    return 1 if wrong else 0
