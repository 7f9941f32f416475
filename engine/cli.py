"""`lemmascope`: the window's headless twin. Exit 0 when it ran, 1 when a claim or replay differs, 2 for wrong usage."""

from __future__ import annotations

import argparse
import importlib
import multiprocessing
import os
import sys
from collections.abc import Sequence
from typing import Any, NoReturn

from engine.version import VERSION

COMMANDS = (
    "app", "list", "show", "run", "verify", "replay", "resume", "info", "export", "first-run", "selftest",
    "own", "new", "check", "recover",
)  # fmt: skip


class Usage(Exception):
    """Wrong usage, in one line."""


class Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise Usage(f"{message} (see {self.prog} --help)")


def whole(low: int, high: int, name: str) -> Any:
    def parse(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            value = low - 1
        if not low <= value <= high:
            raise argparse.ArgumentTypeError(
                f"{name} = {text} is not a whole number in [{low}, {high}]"
            )
        return value

    return parse


def parser() -> Parser:
    top = Parser(
        prog="lemmascope", description="An oscilloscope for the theorems of deep learning."
    )
    top.add_argument("--version", action="version", version=f"lemmascope {VERSION}")
    sub = top.add_subparsers(dest="command", metavar="COMMAND", parser_class=Parser)

    def add(name: str, text: str, json: bool = True) -> Parser:
        p: Parser = sub.add_parser(name, help=text, description=text)
        if json:
            p.add_argument("--json", action="store_true", help="print one JSON object")
        return p

    p = add("app", "Open the window, with session files if given.", json=False)
    p.add_argument("files", nargs="*", metavar="FILE")
    add("list", "List the experiments.")
    p = add("show", "Show an experiment: page, knobs, metrics, presets, claims, references.")
    p.add_argument("name", metavar="NAME", help="area/name")
    p = add("run", "Train an experiment and judge its claims.")
    p.add_argument("name", metavar="NAME", help="area/name")
    p.add_argument(
        "--set", action="append", default=[], metavar="KNOB=VALUE", help="K=V1,V2,… sweeps a knob"
    )
    p.add_argument("--preset", default="")
    p.add_argument("--seeds", type=whole(1, 1024, "seeds"), default=0)
    p.add_argument("--first-seed", type=whole(0, 2**31, "first seed"), default=0, metavar="N")
    p.add_argument("--steps", type=whole(0, 10**9, "steps"), default=None)
    p.add_argument("--device", default="cpu", help="cpu, cuda or cuda:N")
    p.add_argument("--dtype", default="", help="float32 or float64")
    p.add_argument("--out", default="", metavar="FILE", help="write a session")
    p = add(
        "verify", "Judge every claim at every preset against the outcome that the preset declares."
    )
    p.add_argument("names", nargs="*", metavar="NAME")
    p.add_argument("--all", action="store_true")
    p.add_argument("--device", default="cpu")
    p = add("replay", "Recompute a session's runs and compare them with the file.")
    p.add_argument("file", metavar="FILE")
    p.add_argument(
        "run", nargs="?", default="", metavar="RUN", help="its number or id; all if left out"
    )
    p = add("resume", "Train a session's unfinished runs to their end.")
    p.add_argument("file", metavar="FILE")
    p.add_argument("run", nargs="?", default="", metavar="RUN")
    p.add_argument(
        "--out", default="", metavar="FILE", help="where to write; the same file if left out"
    )
    p = add("info", "Say what a session holds.")
    p.add_argument("file", metavar="FILE")
    p = add("export", "Draw a session's run: png, svg, pdf or csv by the extension.", json=False)
    p.add_argument("file", metavar="FILE")
    p.add_argument("run", nargs="?", default="", metavar="RUN")
    p.add_argument("--to", required=True, metavar="PATH")
    p = add("recover", "List what a crash left; save one of these runs, or discard it.")
    p.add_argument("number", nargs="?", type=whole(1, 10**6, "number"), default=0, metavar="N",
                   help="its number in the list")  # fmt: skip
    p.add_argument("--out", default="", metavar="FILE", help="write it into a session")
    p.add_argument("--discard", action="store_true", help="remove it")
    p = add("first-run", "Train the default experiment, save a session and a picture.", json=False)
    p.add_argument("--folder", default=".")
    p = add("own", "List the experiments of your own; enable one by name, or turn it off.")
    p.add_argument("action", nargs="?", choices=("list", "allow", "forbid"), default="list")
    p.add_argument("file", nargs="?", default="", metavar="FILE", help="its path, or its bare name")
    p.add_argument("--hash", default="", metavar="HASH", help="enable these bytes without asking")
    p = add("new", "Write an experiment of your own to start from.", json=False)
    p.add_argument("file", metavar="FILE", help="a path, or a bare name in the folder for them")
    p = add("check", "Run a file of your own and put it to the tests that every experiment passes.")
    p.add_argument("file", metavar="FILE", help="its path, or its bare name")
    add("selftest", "Check this installation: train, draw, save, export, show.")
    return top


def main(argv: Sequence[str] | None = None) -> int:
    multiprocessing.freeze_support()  # first of all: in a bundle a worker is this very program
    words = list(sys.argv[1:] if argv is None else argv)
    if not words or (
        not words[0].startswith("-") and words[0] not in COMMANDS and _is_file(words[0])
    ):
        words = ["app", *words]
    try:
        args = parser().parse_args(words)
        if args.command is None:
            raise Usage(f"say which of {', '.join(COMMANDS)} (see lemmascope --help)")
        if args.command == "app":
            # by name: the engine knows no Qt, and every other command works where there is none
            return int(importlib.import_module("desktop.app").main(args.files))
        commands = importlib.import_module("engine.commands.dispatch")
        return int(commands.dispatch(args))
    except Usage as e:
        print(f"lemmascope: {e}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("lemmascope: interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:
        # whoever read the output has enough; nothing more can be said there
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141


def _is_file(word: str) -> bool:
    """A session named without a command, as a file manager does."""
    return word.endswith((".h5", ".hdf5"))


if __name__ == "__main__":
    sys.exit(main())
