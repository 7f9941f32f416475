"""Finds every EXPERIMENT under engine/experiments and turns it into a plain `Card` for the desktop.

A user's own (`own/<name>`, see `engine.own`) is found by `get` alone, in worker processes alone, and only if enabled.
"""

from __future__ import annotations

import functools
import importlib
import inspect
import pkgutil
import sys

from engine import experiments, strangers
from engine.messages import (
    Card,
    ClaimCard,
    FormulaCard,
    MetricCard,
    PredictionCard,
    PresetCard,
    ReferenceCard,
    ViewCard,
)
from engine.spec import Experiment


@functools.cache
def load() -> tuple[dict[str, Experiment], tuple[str, ...]]:
    """name -> experiment, sorted, and a sentence for each module that could not be loaded."""
    found: dict[str, Experiment] = {}
    problems = []
    for info in pkgutil.walk_packages(experiments.__path__, experiments.__name__ + "."):
        if info.ispkg:
            continue
        try:
            module = importlib.import_module(info.name)
            ex = module.EXPERIMENT
            place = "/".join(info.name.split(".")[-2:])
            if strangers.is_own(ex.name):
                raise ValueError(f"the area {strangers.AREA} is kept for users' own experiments")
            if ex.name != place:
                raise ValueError(f"it is named {ex.name} but stands at {place}")
            found[ex.name] = ex
        except Exception as e:
            problems.append(f"{info.name} could not be loaded: {type(e).__name__}: {e}")
    return dict(sorted(found.items())), tuple(problems)


def get(name: str) -> Experiment:
    if strangers.is_own(name):
        from engine import own

        return own.get(name)
    found, problems = load()
    if name not in found:
        hint = "; ".join(p for p in problems if name.replace("/", ".") in p)
        raise ValueError(hint or f"no experiment {name}; there are {', '.join(found)}")
    return found[name]


def card(ex: Experiment) -> Card:
    place = ex.name.replace("/", ".")
    place = f"lemmascope_{place}" if strangers.is_own(ex.name) else f"engine.experiments.{place}"
    module = sys.modules.get(place) or inspect.getmodule(ex.init)
    claims = tuple(
        ClaimCard(
            c.key, c.text, c.source, tuple(c.measured.metrics), c.rtol, c.atol, c.side, c.seeds,
            tuple(a.text for a in c.assumptions),
        )
        for c in ex.claims
    )  # fmt: skip
    return Card(
        name=ex.name,
        title=ex.title,
        area=ex.area,
        page=inspect.cleandoc((module.__doc__ if module else "") or ""),
        knobs=ex.hyper.knobs(),
        metrics=tuple(
            MetricCard(
                m.name, m.label, m.symbol, m.kind, m.scale, m.unit, m.coords_label, m.coords_scale, m.parts
            )
            for m in ex.metrics
        ),
        predictions=tuple(
            PredictionCard(
                p.name, p.metric, p.label, p.source, p.needs, p.convention,
                tuple(a.text for a in p.assumptions), p.against,
            )
            for p in ex.predictions
        ),
        claims=claims,
        presets=tuple(
            PresetCard(
                p.name,
                p.text,
                dict(p.values),
                {k: list(v) for k, v in (ex.sweep if p.sweep is None else p.sweep).items()},
                p.seeds or ex.seeds,
                {c.key: p.expects.get(c.key, "holds") for c in ex.claims},
            )
            for p in ex.presets
        ),
        views=tuple(ViewCard(v.metrics, v.title, v.x_scale, v.against) for v in ex.views),
        formulae=tuple(FormulaCard(f.tex, f.text, dict(f.symbols)) for f in ex.formulae),
        references=tuple(ReferenceCard(k, r.title, r.arxiv) for k, r in ex.references.items()),
        sweep={k: list(v) for k, v in ex.sweep.items()},
        seeds=ex.seeds,
        dtype=ex.dtype,
        records=ex.records,
    )  # fmt: skip


def cards() -> tuple[Card, ...]:
    return tuple(card(ex) for ex in load()[0].values())
