"""Runs users' own experiments. Worker processes only: no other process executes anything of such a file.

The bytes that were hashed are the bytes that are compiled, so nothing can take their place in between; no compiled file
of Python's is read or written; a file can import what is installed, not its neighbours, which its hash does not cover.
"""

from __future__ import annotations

import os
import sys
import traceback
import types
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from engine import strangers
from engine.encoding import Malformed, decode, encode
from engine.messages import Card
from engine.running.guarded import Faulty, guarded, whence
from engine.spec import Experiment

PACKAGE = "lemmascope_own"
_here = False  # whether this process may execute them
_loaded: dict[str, tuple[str, Experiment]] = {}  # name -> (SHA-256, experiment)
_files: dict[str, str] = {}  # path, as tracebacks give it -> name


class Unloadable(ValueError):
    """The file is enabled and gave no experiment, in one sentence."""


def permit_here() -> None:
    """Called by a process that exists to run experiments, and by no other."""
    global _here
    _here = True
    # What a stranger prints is no part of what a command prints.
    sys.stdout = sys.stderr
    place = os.path.realpath(strangers.folder())
    sys.path[:] = [p for p in sys.path if os.path.realpath(p or ".") != place]


def get(name: str) -> Experiment:
    """The enabled experiment of this name, loaded when it is first asked for and after each change."""
    path, data, sha = strangers.permitted(name)
    if name not in _loaded or _loaded[name][0] != sha:
        _loaded[name] = sha, load(path, data)
    return _loaded[name][1]


def load(path: Path, data: bytes) -> Experiment:
    """Executes these bytes and returns their EXPERIMENT under the name own/<stem>. Raises Unloadable."""
    if not _here:
        raise Unloadable(f"{path.name} runs in worker processes only")
    name, file = strangers.name_of(path), str(path)
    module = types.ModuleType(f"{PACKAGE}.{path.stem}")
    module.__file__ = file
    _files[file] = name
    sys.modules[module.__name__] = module  # declared types are looked up there
    try:
        exec(compile(data, file, "exec", dont_inherit=True), module.__dict__)
        ex = module.__dict__.get("EXPERIMENT")
        if not isinstance(ex, Experiment):
            what = "it has none" if ex is None else f"it is a {type(ex).__name__}"
            raise Unloadable(f"{path.name} must end in EXPERIMENT = Experiment(…): {what}")
        ex = replace(guarded(ex), name=name)
        card(ex)
    except Unloadable:
        sys.modules.pop(module.__name__, None)
        raise
    except BaseException as e:
        # a stranger may raise anything, sys.exit and KeyboardInterrupt among it
        sys.modules.pop(module.__name__, None)
        raise Unloadable(told(e, f"{path.name} could not be loaded")) from e
    return ex


def card(ex: Experiment) -> Card:
    """Its card, as it will come out of the pipe. What plain data cannot carry raises here."""
    from engine import catalogue
    from engine.sessions.checks import conforms

    made = catalogue.card(ex)
    got: Card = decode(encode(made))
    if not conforms(got, Card):
        raise Malformed("its declaration holds something else than text, numbers and lists")
    return got


def line_of(error: BaseException) -> tuple[str, int, str] | None:
    """File, line and function of the last line of a stranger's that led to this error."""
    if isinstance(error, SyntaxError) and error.filename in _files:
        return str(error.filename), error.lineno or 0, ""
    place = None
    for frame, line in traceback.walk_tb(error.__traceback__):
        if frame.f_code.co_filename in _files:
            place = frame.f_code.co_filename, line, frame.f_code.co_name
    return place


def told(error: BaseException, before: str = "") -> str:
    """An error that a stranger's code raised as one sentence with file and line; "" if none of its lines took part."""
    if isinstance(error, Faulty):
        return str(error)
    place = line_of(error)
    if place is None and not before:
        return ""
    where = before
    if place is not None:
        where = f"{before} ({at(*place)})" if before else f"{_files[place[0]]} ({at(*place)})"
    try:
        text = str(error).strip().splitlines()[:1]
    except Exception:
        text = []  # a stranger's exception may fail at that too
    text = [error.msg] if isinstance(error, SyntaxError) else text
    what = f"{type(error).__name__}: {text[0]}" if text else type(error).__name__
    hint = "; looped=True trains one network after another" if "vmap" in what else ""
    return f"{where}: {what[:300]}{hint}"


def at(file: str, line: int, function: str) -> str:
    inside = f", in {function}" if function and function != "<module>" else ""
    return f"{os.path.basename(file)}, line {line}{inside}"


def standing(frame: types.FrameType | None) -> str:
    """Where a thread stands in a stranger's code: "mine.py, line 12, in step"; "" if it is not there."""
    while frame is not None:
        if frame.f_code.co_filename in _files:
            return at(frame.f_code.co_filename, frame.f_lineno, frame.f_code.co_name)
        frame = frame.f_back
    return ""


def environment(name: str) -> dict[str, str]:
    """What a run's record says of the code that made it."""
    return {"experiment": f"sha256:{_loaded[name][0]}"} if name in _loaded else {}


def not_finite(ex: Experiment, values: Mapping[str, Any]) -> str:
    """Why a run that has no finite reading at its start cannot go on."""
    names = [m.name for m in ex.metrics if m.name in values]
    places = ", ".join(f"{n} ({whence(ex.metric(n).measure)})" for n in names)
    return f"{ex.name}: at step 0, before any training, no reading of {places} is finite"
