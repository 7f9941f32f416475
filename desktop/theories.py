"""From predictions to the lines that plots draw: one for each setting that is shown, none twice."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from desktop.plots.base import Theory
from desktop.runs import Run
from desktop.series import Setting, curves_of, metric_of, settings, shown_settings
from engine.messages import Card, MetricCard, Predicted, ViewCard
from engine.spec import Value

Array = np.ndarray[Any, Any]


def imagined(card: Card, sweep: Mapping[str, Sequence[Value]], run: Run | None) -> Run:
    """The run that a question for theory is about: one member for each setting, in the engine's order (real knobs
    innermost, so that a stack's members follow one another). What `run` measured gives it abscissae and steps."""
    kinds = {k.name: k.kind for k in card.knobs}
    order = sorted((k for k in sweep if k in kinds), key=lambda k: kinds[k] == "real")
    combos = list(itertools.product(*(sweep[k] for k in order)))
    out = Run("?", card.name, members={"seed": np.zeros(len(combos), np.int64)})
    for i, name in enumerate(order):
        column: list[Any]
        if kinds[name] == "choice":
            out.choices[name] = [str(v) for v in sweep[name]]
            column = [list(sweep[name]).index(c[i]) for c in combos]
        else:
            column = [c[i] for c in combos]
        out.members[name] = np.array(column)
    if run is not None:
        out.columns = run.columns
    return out


def theories(
    predicted: Iterable[Predicted], card: Card, view: ViewCard, run: Run
) -> dict[str, Theory]:
    """What theory says in a view, by a name for each line. `run` gives settings, abscissae and the last reading."""
    mine = [p for p in predicted if p.metric in view.metrics and p.values.size]
    against = {p.name: p.against for p in card.predictions}
    numbers = [p for p in mine if not against.get(p.prediction)]
    if view.against:
        guides = [p for p in mine if against.get(p.prediction) == view.against]
        return _guides(guides) | _against(numbers, view, run)
    out: dict[str, Theory] = {}
    seen: set[tuple[str, bytes]] = set()
    wanted = shown_settings(run, curves_of(run, view))
    for p in numbers:
        for setting, part in _parts(p, wanted):
            key = (p.prediction, part.values.tobytes())
            made = None if key in seen else _line(part, metric_of(card, p.metric), run)
            seen.add(key)  # the same line for another setting is drawn once
            if made is not None:
                out[f"{p.prediction}@{setting}"] = made
    return out


def _parts(p: Predicted, wanted: Sequence[Setting]) -> list[tuple[int, Predicted]]:
    """What a prediction says of each setting: a stack's prediction from what was drawn holds several."""
    out = []
    for s in wanted:
        at = s.first - p.first
        if not 0 <= at < p.count:
            continue
        if p.values.shape[1] == 1:
            out.append((s.first, p))
        elif at < p.values.shape[1]:
            out.append((s.first, replace(p, first=s.first, values=p.values[:, at : at + s.size])))
    return out


def _theory(p: Predicted, x: Array, values: Array) -> Theory:
    reason = "" if p.valid else "; ".join(p.broken)
    return Theory(np.asarray(x, float), values, p.text, p.valid, reason)


def _guides(predicted: Iterable[Predicted]) -> dict[str, Theory]:
    out = {}
    for p in predicted:
        t = _theory(p, p.steps, p.values[:, 0, ...].reshape(len(p.steps), -1))
        t.kind, t.exponent = "exponent", float(np.ravel(p.values)[0])
        out[p.prediction] = t
    return out


def _line(p: Predicted, metric: MetricCard, run: Run) -> Theory | None:
    values = np.asarray(p.values, float)
    if metric.kind == "scalar":
        return _theory(p, p.steps, values[:, :, None] if values.ndim == 2 else values)
    if metric.kind == "modes":
        return _theory(p, p.steps, values)
    last = values[_now(p, run)]  # (members, *shape)
    if metric.kind == "profile":
        coords = _coords(p, run, last.shape[-1])
        return None if coords is None else _theory(p, coords, last.T[:, :, None])
    if metric.kind == "spectrum":
        return _theory(p, last[0, 0], last[0, 1][:, None])
    return _theory(p, p.steps[:1], last.mean(axis=0).reshape(1, -1))


def _now(p: Predicted, run: Run) -> int:
    """The row of a prediction that speaks of the last reading."""
    ends = [c.steps[-1] for (m, _), c in run.columns.items() if m == p.metric and len(c.steps)]
    if not ends or len(p.values) == 1:
        return len(p.values) - 1
    return max(0, int(np.searchsorted(p.steps, max(ends), side="right")) - 1)


def _coords(p: Predicted, run: Run, size: int) -> Array | None:
    """Abscissae of a profile: of its own stack if that has come, else of any with as many."""
    columns = [
        (f, c) for (m, f), c in run.columns.items() if m == p.metric and c.coords is not None
    ]
    columns.sort(key=lambda pair: not pair[0] <= p.first < pair[0] + pair[1].values.shape[1])
    return next(
        (c.coords for _, c in columns if c.coords is not None and len(c.coords) == size), None
    )


def _against(predicted: Sequence[Predicted], view: ViewCard, run: Run) -> dict[str, Theory]:
    """Predictions of single numbers, at the last step, over the swept knob."""
    every = settings(run)
    curves: dict[str, list[tuple[float, float, Predicted]]] = {}
    for p in predicted:
        for first, part in _parts(p, every):
            x = next(s.values.get(view.against) for s in every if s.first == first)
            if isinstance(x, (int, float)):
                y = float(np.median(np.ravel(part.values[_now(part, run)])))
                curves.setdefault(p.prediction, []).append((float(x), y, p))
    out = {}
    for name, points in curves.items():
        if len({x for x, _, _ in points}) != len(points) or len(points) < 2:
            continue  # a second swept knob: no single curve
        points.sort(key=lambda point: point[0])
        broken = next((p for _, _, p in points if not p.valid), points[0][2])
        t = _theory(
            broken, np.array([x for x, _, _ in points]), np.array([[y] for _, y, _ in points])
        )
        t.label = points[0][2].text.split(" = ")[0]
        out[name] = t
    return out
