"""What runs in the processes that load users' own experiments: vetting, and the checks for authors.

The checks are those that every built-in experiment passes in the tests. Each yields a sentence for what is wrong.
"""

from __future__ import annotations

import contextlib
import math
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from engine import own, strangers
from engine.encoding import encode
from engine.messages import Hello, Refused
from engine.running.members import plan
from engine.running.predict import Predictable, forecast
from engine.running.process import prepare
from engine.running.train import Frame, Member, Stack, flatten, train
from engine.running.watch import Watch, late
from engine.spec import STANDARD, Experiment, Knob

SHORT = 6  # steps
PAGE = 300  # characters that a page has at least
ALIKE = ("lr", "noise", "steps", "prompt_length")  # labelled the same in every experiment


def vet(connection: Any, names: list[str], limit: float, dump: str) -> None:
    """A greeting before each file, then its card or why there is none."""
    prepare()
    own.permit_here()
    with open(dump, "w") as f:
        watch = Watch(own.standing, f)
        for name in names:
            connection.send_bytes(encode(Hello(os.getpid(), {})))
            file = os.path.basename(strangers.path_of(name))

            def say(where: str, seconds: float, name: str = name, file: str = file) -> None:
                why = late(f"loading {file}", where, seconds)
                connection.send_bytes(encode(Refused(name, why)))

            answer: Any
            with watch.over(limit, say):
                try:
                    answer = own.card(own.get(name))
                except BaseException as e:
                    answer = Refused(name, str(e) if isinstance(e, ValueError) else repr(e)[:300])
            connection.send_bytes(encode(answer))


def check(connection: Any, what: list[str], limit: float, dump: str) -> None:
    """Loads the file of this path and hash and puts it to every check."""
    prepare()
    own.permit_here()
    path, sha = Path(what[0]), what[1]

    def title(text: str) -> None:
        connection.send_bytes(encode(Hello(os.getpid(), {"check": text})))

    def say(where: str, seconds: float) -> None:
        why = late(f"loading {path.name}", where, seconds)
        connection.send_bytes(encode(Refused("", why)))

    with open(dump, "w") as f:
        title("it can be loaded")
        why, ex = "", None
        with Watch(own.standing, f).over(limit, say):
            try:
                data, now = strangers.read(path)
                if now != sha:
                    raise ValueError("it has changed just now")
                ex = own.load(path, data)
            except ValueError as e:
                why = str(e)
        connection.send_bytes(encode(Refused("", why)))
        if ex is not None:
            for text, one in CHECKS.items():
                title(text)
                connection.send_bytes(encode(Refused("", "; ".join(complaints(one, ex)))))
    title("")


def complaints(one: Callable[[Any], Iterator[str]], ex: Experiment) -> list[str]:
    """At most three; an error is one too."""
    found: list[str] = []
    try:
        for text in one(ex):
            found.append(text)
            if len(found) == 3:
                found.append("and more")
                break
    except (Exception, SystemExit) as e:
        found.append(own.told(e) or f"{type(e).__name__}: {e}"[:300])
    return found


# --- the checks ---


def _members(ex: Experiment, count: int = 2, **values: Any) -> list[Member]:
    if ex.step is not None:
        values = {"steps": SHORT} | values
    hp = ex.hyper.of(values)
    return [Member(hp, seed) for seed in range(count)]


def _frames(ex: Experiment, members: Sequence[Member], **more: Any) -> list[Frame]:
    return list(train(ex, members, **more))


def _bare(knob: Knob) -> bool:
    return not knob.label or not knob.meaning.endswith(".")


def declared(ex: Experiment) -> Iterator[str]:
    card = own.card(ex)
    if len(card.page) < PAGE:
        yield f"its page, the module's docstring, has {len(card.page)} characters; {PAGE} say what is seen"
    if "epartures" not in card.page:
        yield "its page lists no departures from the paper"
    for what in ("formulae", "references", "claims", "predictions", "presets", "views"):
        if not getattr(card, what):
            yield f"it has no {what}"
    if card.presets and (card.presets[0].name != "default" or card.presets[0].values):
        yield "its first preset is not `default` without values"
    outcomes = {o for p in card.presets for o in p.expects.values()}
    if card.claims and "holds" not in outcomes:
        yield "no preset shows a claim that holds"
    if card.claims and not outcomes & {"fails", "broken"}:
        yield "no preset shows where a claim ends (expects fails or broken)"
    if not any(f.symbols for f in card.formulae):
        yield "no formula says which symbol stands for which knob"
    for r in card.references:
        if r.arxiv and not r.arxiv.replace(".", "").isdigit():
            yield f"{r.arxiv} is no arXiv number"
    for k in card.knobs:
        if _bare(k):
            yield f"the meaning of {k.name} is no sentence: {k.meaning!r}"
        if k.name in ALIKE and k.label != STANDARD[k.name][0]:
            yield f"{k.name} is labelled {k.label}; everywhere else it is {STANDARD[k.name][0]}"


def refuses(ex: Experiment) -> Iterator[str]:
    for knob in ex.hyper.knobs():
        beyond: tuple[Any, ...] = ("nonsense",)
        if knob.kind != "choice":
            beyond += (knob.high * 2 + 1, knob.low - 1, math.nan)
        for value in beyond:
            with contextlib.suppress(ValueError):
                ex.hyper.of({knob.name: value})
                yield f"{knob.name} takes {value}"


def _differing(a: Frame, b: Frame) -> list[str]:
    return [k for k in a.values if not np.array_equal(a.values[k], b.values[k], equal_nan=True)]


def repeats(ex: Experiment) -> Iterator[str]:
    for a, b in zip(_frames(ex, _members(ex)), _frames(ex, _members(ex)), strict=True):
        if odd := _differing(a, b):
            yield (
                f"{', '.join(odd)} at step {a.step} differ between two runs of the same seeds: "
                "draw all random numbers from rng"
            )
            return


def resumes(ex: Experiment) -> Iterator[str]:
    if ex.step is None:
        return
    whole = _frames(ex, _members(ex))
    half = next(f for f in whole if f.step == SHORT // 2)
    rest = _frames(ex, _members(ex), state=half.state, step=half.step)
    if odd := _differing(rest[-1], whole[-1]):
        yield (
            f"{', '.join(odd)} differ after a stop: whatever a step needs belongs into the state, "
            "or into data or draw"
        )


def alone(ex: Experiment) -> Iterator[str]:
    """To rounding: a stack's matrix products may sum in another order than one member's."""
    together = _frames(ex, _members(ex, 3), dtype="float64")[-1]
    single = _frames(ex, _members(ex, 3)[1:2], dtype="float64")[-1]
    for k, v in single.values.items():
        scale = float(np.abs(together.values[k]).max(initial=0.0))
        if not np.allclose(
            v[0], together.values[k][1], rtol=1e-6, atol=1e-7 * scale, equal_nan=True
        ):
            yield f"{k} of a network depends on those trained beside it"


def ends(ex: Experiment) -> Iterator[str]:
    for knob in ex.hyper.knobs():
        if knob.name == "steps":
            continue
        for value in knob.choices or (knob.low, knob.high):
            steps = {"steps": 1} if ex.step is not None else {}
            try:
                seen = _frames(ex, _members(ex, 1, **steps, **{knob.name: value}))
            except (Exception, SystemExit) as e:
                yield f"{knob.name} = {value}: {own.told(e) or f'{type(e).__name__}: {e}'[:200]}"
                continue
            for k, v in seen[-1].values.items():
                if not np.isfinite(v).all() and np.isfinite(seen[0].values[k]).all():
                    yield f"{k} is not finite after one step at {knob.name} = {value}"
                elif len(seen) > 0 and not np.isfinite(seen[0].values[k]).all():
                    yield f"{k} is not finite at the start at {knob.name} = {value}"


def predicts(ex: Experiment) -> Iterator[str]:
    p = plan(ex, {"steps": SHORT} if ex.step is not None else {}, seeds=2)
    for first in p.firsts:
        for f in forecast(ex, Predictable(Stack(ex, p.stack(first), ex.dtype))):
            if f.values.shape[1] not in (1, f.size):
                yield f"{f.prediction.name} speaks for {f.values.shape[1]} of {f.size} networks"
            if not f.broken and not np.isfinite(f.values).any():
                yield f"{f.prediction.name} is nowhere finite though its assumptions hold"


def coordinates(ex: Experiment) -> Iterator[str]:
    values = _frames(ex, _members(ex, 1))[0].values
    for m in ex.metrics:
        if m.coords is not None:
            many = np.asarray(m.coords(ex.hyper.of({})), float).shape
            if many != values[m.name].shape[1:]:
                yield f"{m.name} has {values[m.name].shape[1:]} readings over {many} coordinates"


def precisions(ex: Experiment) -> Iterator[str]:
    for dtype in ("float32", "float64"):
        for k, v in flatten(_frames(ex, _members(ex, 1), dtype=dtype)[-1].state).items():
            if v.is_floating_point() and v.dtype != getattr(torch, dtype):
                yield f"{k} is {str(v.dtype).removeprefix('torch.')} in a run in {dtype}"


CHECKS: dict[str, Callable[[Any], Iterator[str]]] = {
    "its declaration is whole": declared,
    "every knob refuses what lies beyond its ends": refuses,
    "a seed fixes the run": repeats,
    "stopping and resuming changes nothing": resumes,
    "a network does not depend on its neighbours": alone,
    "one step at both ends of every knob is finite": ends,
    "profiles have their coordinates": coordinates,
    "predictions have the shape of their metric": predicts,
    "it runs in both precisions": precisions,
}
