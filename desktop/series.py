"""From runs to what plots take: curves over steps, profiles, spectra, matrices, sweeps.

What a run's members that differ in nothing but their seed measured is one setting; a sweep has several.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from desktop.naming import knob_word, number
from desktop.plots.base import Measured
from desktop.runs import OVER, Run
from desktop.traces import Column
from engine.messages import Card, MetricCard, ViewCard

Array = np.ndarray[Any, Any]
MOST_CURVES = 8  # of one sweep in one plot
MOST_MODES = 12


class Setting(NamedTuple):
    first: int
    size: int
    values: dict[str, Any]  # of the swept knobs


@dataclass(frozen=True)
class Drawn:
    """One view's worth of one run."""

    measured: dict[str, Measured]  # key, starting with the run's id -> what it is
    shape: tuple[int, int] | None = None  # of a matrix


def settings(run: Run) -> list[Setting]:
    keys = [k for k in run.members if k != "seed"]
    total = len(run.members.get("seed", ()))
    out: list[Setting] = []
    first = 0
    for i in range(1, total + 1):
        if i == total or any(run.members[k][i] != run.members[k][first] for k in keys):
            values = {k: _member(run, k, first) for k in keys}
            out.append(Setting(first, i - first, values))
            first = i
    return out


def _member(run: Run, knob: str, i: int) -> Any:
    value = run.members[knob][i]
    if knob in run.choices:
        return run.choices[knob][int(value)]
    return value.item()


def named(setting: Setting, card: Card) -> str:
    words = {k.name: knob_word(k) for k in card.knobs}
    return ", ".join(f"{words.get(k, k)} = {number(v)}" for k, v in setting.values.items())


def curve_label(card: Card, view: ViewCard, metric: str, where: str) -> str:
    """What tells a curve from its neighbours: the metric where there are several, the setting in a sweep."""
    m = metric_of(card, metric)
    word = ""
    if len(view.metrics) > 1:
        word = (m.symbol or m.label) if where else m.label
    return ", ".join(filter(None, [word, where]))


def metric_of(card: Card, name: str) -> MetricCard:
    return next(m for m in card.metrics if m.name == name)


def axis_label(label: str, symbol: str = "", unit: str = "") -> str:
    text = f"{label} {symbol}".strip()
    return f"{text} ({unit})" if unit else text


def plot_kind(card: Card, view: ViewCard) -> str:
    return "sweep" if view.against else metric_of(card, view.metrics[0]).kind


def plot_words(card: Card, view: ViewCard) -> dict[str, Any]:
    """Title, axis labels and scales of a view's plot."""
    metric = metric_of(card, view.metrics[0])
    single = len(view.metrics) == 1
    y = (
        axis_label(metric.label, metric.symbol, metric.unit)
        if single
        else view.title or metric.label
    )
    words: dict[str, Any] = dict(
        title=view.title or metric.label,
        x_label="step",
        y_label=y,
        x_scale=view.x_scale,
        y_scale=metric.scale,
    )
    if view.against:
        knob = next(k for k in card.knobs if k.name == view.against)
        label = knob.label[:1].lower() + knob.label[1:]
        words |= dict(x_label=axis_label(label, knob.symbol), x_scale=knob.scale)
    elif metric.kind == "profile":
        words |= dict(x_label=metric.coords_label, x_scale=metric.coords_scale)
    elif metric.kind == "spectrum":
        words |= dict(x_label=y, y_label="density", x_scale=metric.scale, y_scale="linear")
    elif metric.kind == "matrix":
        words |= dict(x_label="column", y_label="row", x_scale="linear", y_scale="linear")
    return words


# --- measured ---


Kept = dict[int, "Joined"]  # what `draw` made of the same view of the same run the last time


def draw(run: Run, card: Card, view: ViewCard, current: bool, kept: Kept | None = None) -> Drawn:
    kind = plot_kind(card, view)
    make = {
        "sweep": _against,
        "scalar": _curves,
        "modes": _curves,
        "profile": _profiles,
        "spectrum": _spectra,
        "matrix": _matrices,
    }[kind]
    return make(run, card, view, _look(run, current), {} if kept is None else kept)


def _look(run: Run, current: bool) -> dict[str, Any]:
    role: str = run.role
    if current:
        role = "selected" if run.state in (*OVER, "paused") else "live"
    return dict(colour_index=run.colour, label=run.shown_name, role=role, seeds=run.seeds)


def shown_settings(run: Run, curves: int = 1) -> list[Setting]:
    """The settings that are drawn, of `curves` curves each: all, or so many spread over the sweep with both its ends."""
    every = settings(run)
    most = max(2 if curves <= MOST_CURVES // 2 else 1, MOST_CURVES // curves)
    if len(every) <= most:
        return every
    if most == 1:
        return every[-1:]
    picks = np.linspace(0, len(every) - 1, most).round().astype(int)
    return [every[i] for i in picks]


def curves_of(run: Run, view: ViewCard) -> int:
    """How many curves a view draws of one setting."""
    parts = [
        c.values.shape[2]
        for (m, _), c in run.columns.items()
        if m in view.metrics and c.values.ndim == 3
    ]
    return len(view.metrics) * min(MOST_MODES, max(parts, default=1))


def _column(run: Run, metric: str, setting: Setting) -> tuple[Column, slice] | None:
    """The stack that holds a setting, and the setting's members in it."""
    for (name, first), column in run.columns.items():
        if name == metric and first <= setting.first < first + column.values.shape[1]:
            at = setting.first - first
            return column, slice(at, at + setting.size)
    return None


class _Curve(NamedTuple):
    label: str
    steps: Array
    values: Array  # (T, members)
    stamp: tuple[int, int, int]  # of the column, first of the members, which curve of several


class Joined:
    """Curves over the same steps in one array (T, members, k), to which only new rows are written."""

    def __init__(self) -> None:
        self._held = np.zeros((0, 0, 0))
        self.stamp: Any = None
        self.settled = 0  # rows that every curve has

    def take(self, curves: list[_Curve]) -> Array:
        stamp = tuple(c.stamp for c in curves)
        length = max(len(c.steps) for c in curves)
        shape = (max(c.values.shape[1] for c in curves), len(curves))
        if stamp != self.stamp or self._held.shape[1:] != shape:
            self.stamp, self.settled = stamp, 0
            kind = np.result_type(np.float32, *(c.values.dtype for c in curves))
            self._held = np.zeros((0, *shape), kind)
        start = self.settled
        if length > len(self._held):
            room = np.empty((max(length, 2 * len(self._held)), *shape), self._held.dtype)
            room[:start] = self._held[:start]
            self._held = room
        self._held[start:length] = np.nan
        for j, c in enumerate(curves):
            self._held[start : len(c.steps), : c.values.shape[1], j] = c.values[start:]
        self.settled = min(len(c.steps) for c in curves)
        return self._held[:length]


def _curves(run: Run, card: Card, view: ViewCard, look: dict[str, Any], kept: Kept) -> Drawn:
    groups: list[list[_Curve]] = []  # curves whose steps agree as far as they go
    for setting in shown_settings(run, curves_of(run, view)):
        for name in view.metrics:
            found = _column(run, name, setting)
            if found is None or not len(found[0].steps):
                continue
            column, mine = found
            metric = metric_of(card, name)
            values = column.values[:, mine]
            where = named(setting, card)
            if metric.kind == "scalar":
                stamp = (column.stamp, mine.start, 0)
                label = curve_label(card, view, name, where)
                curves = [_Curve(label, column.steps, values, stamp)]
            else:
                k = values.shape[2]
                parts = metric.parts or tuple(str(i + 1) for i in range(k))
                curves = [
                    _Curve(", ".join(filter(None, [parts[i], where])), column.steps,
                           values[:, :, i], (column.stamp, mine.start, i))
                    for i in range(min(k, MOST_MODES))
                ]  # fmt: skip
            for curve in curves:
                for group in groups:
                    n = min(len(curve.steps), len(group[0].steps))
                    if np.array_equal(curve.steps[:n], group[0].steps[:n]):
                        group.append(curve)
                        break
                else:
                    groups.append([curve])
    out = {}
    for i, group in enumerate(groups):
        x = max((c.steps for c in group), key=len)
        stamp_: Any = group[0].stamp
        if len(group) == 1 and len(groups) == 1:
            values, settled = group[0].values[:, :, None], len(x)
        else:
            joined = kept.setdefault(i, Joined())
            values = joined.take(group)
            stamp_, settled = joined.stamp, joined.settled
        parts = tuple(c.label for c in group)
        out[f"{run.id}/{i}"] = Measured(
            x, values, parts=parts if any(parts) else (), stamp=stamp_, settled=settled, **look
        )
    return Drawn(out)


def _profiles(run: Run, card: Card, view: ViewCard, look: dict[str, Any], kept: Kept) -> Drawn:
    groups: dict[bytes, list[tuple[str, Array, Array]]] = {}
    for setting in shown_settings(run, len(view.metrics)):
        for name in view.metrics:
            found = _column(run, name, setting)
            if found is None or not len(found[0].steps) or found[0].coords is None:
                continue
            column, mine = found
            label = curve_label(card, view, name, named(setting, card))
            x = np.asarray(found[0].coords, float)
            groups.setdefault(x.tobytes(), []).append((label, x, column.values[-1, mine].T))
    out = {}
    for i, group in enumerate(groups.values()):
        values = np.full((len(group[0][1]), max(g[2].shape[1] for g in group), len(group)), np.nan)
        for j, (_, _, v) in enumerate(group):
            values[:, : v.shape[1], j] = v
        parts = tuple(g[0] for g in group)
        out[f"{run.id}/{i}"] = Measured(
            group[0][1], values, parts=parts if any(parts) else (), **look
        )
    return Drawn(out)


def _spectra(run: Run, card: Card, view: ViewCard, look: dict[str, Any], _: Kept) -> Drawn:
    out = {}
    for i, setting in enumerate(shown_settings(run)[:3]):
        found = _column(run, view.metrics[0], setting)
        if found is None or not len(found[0].steps):
            continue
        column, mine = found
        values = column.values[-1:, mine]
        out[f"{run.id}/{i}"] = Measured(column.steps[-1:], values, **look)
    return Drawn(out)


def _matrices(run: Run, card: Card, view: ViewCard, look: dict[str, Any], _: Kept) -> Drawn:
    for setting in settings(run)[:1]:
        found = _column(run, view.metrics[0], setting)
        if found is None or not len(found[0].steps):
            continue
        column, mine = found
        values = column.values[-1:, mine]
        p, q = values.shape[2:]
        m = Measured(column.steps[-1:], values.reshape(1, values.shape[1], p * q), **look)
        return Drawn({f"{run.id}/0": m}, (p, q))
    return Drawn({})


def _against(run: Run, card: Card, view: ViewCard, look: dict[str, Any], _: Kept) -> Drawn:
    """The last reading of each setting over the swept knob; one curve for each metric and other swept values."""
    knob = view.against
    curves: dict[str, dict[float, Array]] = {}
    for setting in settings(run):
        x = float(setting.values.get(knob, run.values.get(knob, np.nan)))
        rest = {k: v for k, v in setting.values.items() if k != knob}
        for name in view.metrics:
            found = _column(run, name, setting)
            if found is None or not len(found[0].steps):
                continue
            column, mine = found
            label = curve_label(card, view, name, named(Setting(0, 0, rest), card))
            curves.setdefault(label, {})[x] = np.ravel(column.values[-1, mine])
    if not curves:
        return Drawn({})
    xs = np.array(sorted({x for c in curves.values() for x in c}))
    most = max(len(v) for c in curves.values() for v in c.values())
    values = np.full((len(xs), most, len(curves)), np.nan)
    for j, curve in enumerate(curves.values()):
        for x, v in curve.items():
            values[int(np.searchsorted(xs, x)), : len(v), j] = v
    parts = tuple(curves)
    return Drawn({f"{run.id}/0": Measured(xs, values, parts=parts if any(parts) else (), **look)})


def events(run: Run, card: Card) -> list[tuple[float, str]]:
    """Marks on the time axis. A slider's movement is one mark, at its end."""
    words = {k.name: knob_word(k) for k in card.knobs}
    near = max(1, run.steps // 50)
    kept: list[Any] = []
    for c in sorted({(c.step, c.knob, c.value) for c in run.changes}, key=lambda c: c[0]):
        if kept and kept[-1][1] == c[1] and c[0] - kept[-1][0] <= near:
            kept.pop()
        kept.append(c)
    return [(float(step), f"{words.get(k, k)} = {number(v)}") for step, k, v in kept]
