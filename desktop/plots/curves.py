"""Curves over steps: the median of the seeds, its band, theory's line, and ghosts of earlier runs."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from PySide6.QtGui import QColor, QPainter

from desktop import theme
from desktop.plots import axes, exponent, paper
from desktop.plots.base import Content, Measured, PlotView, Reading, TagOf, Theory, extent
from desktop.plots.geometry import Frame, Quality
from desktop.plots.marks import Band, Line, Mark, Points
from desktop.plots.seeds import Summary
from desktop.plots.theory import theory_at, theory_curves, theory_text
from desktop.plots.thin import MANY, Drawn, Thin, along

Array = np.ndarray[Any, Any]

THEORY_DASHES, THEORY_WIDTH = (6.0, 4.0), 1.5
INVALID_DASHES = (1.5, 4.0)
RUN_DASHES = {  # of the line styles that follow the first eight runs
    "SolidLine": (),
    "DashDotLine": (10.0, 3.0, 2.0, 3.0),
    "DashDotDotLine": (10.0, 3.0, 2.0, 3.0, 2.0, 3.0),
}
GHOST, PINNED_BAND, MEMBER = 0.35, 0.10, 0.45  # strengths
ORDER = {"ghost": 0, "pinned": 1, "live": 2, "selected": 3}  # painted last lies on top
MOST_PARTS = 8  # curves of one run that are labelled one by one


@dataclass
class Trace:
    """A run's readings, ready to draw: sorted, summed up over seeds, in axis coordinates."""

    summary: Summary = field(default_factory=Summary)
    x: Array = field(default_factory=lambda: np.zeros(0))  # (T,) as measured, ascending
    median: Array = field(default_factory=lambda: np.zeros((0, 0)))  # (T, k) as measured
    low: Array = field(default_factory=lambda: np.zeros((0, 0)))
    high: Array = field(default_factory=lambda: np.zeros((0, 0)))
    values: Array = field(default_factory=lambda: np.zeros((0, 0, 0)))  # (T, members, k)
    stamp: Any = None  # as in Measured; None: any reading may have changed
    settled: int = 0
    thin: dict[int, Thin] = field(default_factory=dict)  # by curve, once there are many readings

    def update(self, m: Measured) -> None:
        x, values = np.asarray(m.x, dtype=float), np.asarray(m.values)
        values = values if values.dtype.kind == "f" else values.astype(float)
        values = values[:, None, :] if values.ndim == 2 else values
        n = min(len(x), len(values))  # a row may be half arrived
        x, values, stamp = x[:n], values[:n], m.stamp
        good = np.isfinite(x)
        if not good.all():
            x, values, stamp = x[good], values[good], None
        if np.any(x[1:] < x[:-1]):
            order = np.argsort(x, kind="stable")
            x, values, stamp = x[order], values[order], None
        self.summary.update(values, stamp, m.settled)
        assert self.summary.median is not None
        assert self.summary.low is not None and self.summary.high is not None
        self.x, self.values, self.stamp, self.settled = x, values, stamp, m.settled
        self.median, self.low, self.high = (
            self.summary.median,
            self.summary.low,
            self.summary.high,
        )

    @property
    def k(self) -> int:
        return int(self.median.shape[1])

    def drawn(self, k: int, scales: tuple[str, str], whole: bool) -> Drawn:
        """A curve and its band in axis coordinates; with fewer points if there are many and all are in view."""
        readings = self.x, self.median[:, k], self.low[:, k], self.high[:, k]
        if not whole or self.stamp is None or len(self.x) < MANY:
            return along(readings, scales)
        return self.thin.setdefault(k, Thin()).update(readings, scales, self.stamp, self.settled)


class CurvesPlot(PlotView):
    drawn_points = False  # readings as points rather than a line

    def __init__(self, **kw: Any) -> None:
        self.traces: dict[str, Trace] = {}
        self._stale: dict[str, None] = {}  # a set whose order is that of the calls
        self.chosen: tuple[float, float] | None = None  # the exponent tool's range of x
        super().__init__(**kw)

    def choose(self, low: float | None, high: float | None) -> str:
        """The range whose slope is read, or none. Returns what is read, in words."""
        self.chosen = None if low is None or high is None else (min(low, high), max(low, high))
        self.update()
        return exponent.spoken(self, *self.chosen) if self.chosen else ""

    def choosing(self) -> bool:
        return self.chosen is not None

    def paint_over(self, p: QPainter, f: Frame, look: paper.Look, q: Quality) -> None:
        if self.chosen:
            exponent.paint(self, p, f, look, *self.chosen)

    def _changed(self, run: str) -> None:
        super()._changed(run)
        self._stale[run] = None

    def _forget(self, run: str) -> None:
        self.traces.pop(run, None)
        self._stale.pop(run, None)

    def take_in(self) -> None:
        """Sums up the runs that changed."""
        for run in self._stale:
            if run in self.measured:
                self.traces.setdefault(run, Trace()).update(self.measured[run])
        self._stale.clear()

    # --- marks ---

    def build(self, look: paper.Look) -> Content:
        self.take_in()
        c = Content()
        xs: list[Array] = []
        ys: list[Array] = []
        runs = sorted(self.traces, key=lambda r: ORDER[self.measured[r].role])
        bands: list[Mark] = []
        lines: list[tuple[Mark, TagOf | None]] = []
        for run in runs:
            self._run_marks(run, look, bands, lines, xs, ys)
        theory_lines: list[tuple[Mark, TagOf | None]] = []
        valid: list[Array] = []
        invalid: list[Array] = []
        for (run, name), t in self.theory.items():
            self._theory_marks(run, name, t, look, theory_lines, xs, valid if t.valid else invalid)
        c.marks = [*bands]
        for mark, tag in [*lines, *theory_lines]:
            if tag is not None:
                c.tags.append(tag)
            c.marks.append(mark)
        # theory first: its label has one place only
        c.tags.sort(key=lambda tag: not tag.at_end)
        c.x = extent(xs)
        c.y, c.y_theory, c.y_invalid = extent(ys), extent(valid), extent(invalid)
        c.empty = c.x is None or (c.y is None and c.y_theory is None and c.y_invalid is None)
        return c

    def _colour(self, m: Measured, k: int, count: int, look: paper.Look) -> str:
        """Each of several curves of a run has a shade of the run's colour."""
        colour = look.run(m.colour_index, k / max(1, count - 1) if count > 1 else 0.0)
        return look.faded(colour, GHOST) if m.role == "ghost" else colour

    def _run_marks(
        self,
        run: str,
        look: paper.Look,
        bands: list[Mark],
        lines: list[tuple[Mark, TagOf | None]],
        xs: list[Array],
        ys: list[Array],
    ) -> None:
        m, trace = self.measured[run], self.traces[run]
        dashes = RUN_DASHES[theme.run_style(m.colour_index).name]
        banded = m.role != "ghost" and trace.values.shape[1] > 1
        whole = self._whole(trace)
        for k in range(trace.k):
            colour = QColor(self._colour(m, k, trace.k, look))
            x, y, around_x, low, high = trace.drawn(k, (self.x_scale, self.y_scale), whole)
            if not np.isfinite(y).any():
                continue
            xs.append(x[np.isfinite(y)])
            ys.append(y)
            if banded:
                ys.extend((low, high))
            if banded and not self.drawn_points:
                strength = PINNED_BAND if m.role == "pinned" else 0.18
                bands.append(Band(around_x, low, high, colour, strength))
            if m.members_shown:
                thin = QColor(look.faded(colour.name(), MEMBER))
                for j in range(trace.values.shape[1]):
                    each = trace.values[:, j, k]
                    at, member, *_ = along(
                        (trace.x, each, each, each), (self.x_scale, self.y_scale)
                    )
                    lines.append((Line(at, member, thin), None))
                    ys.append(member)
            line = Line(
                x,
                y,
                colour,
                width=2.0 if m.role == "selected" else 1.0,
                dashes=dashes,
                wide_at_rest=m.role == "live",
            )
            tag = self._run_tag(run, k, trace, look, line)
            lines.append((line, tag))
            around: Mark | None = bands[-1] if banded and not self.drawn_points else None
            if self.drawn_points:
                around = Points(x, y, colour, low if banded else None, high if banded else None)
                around.shape = m.colour_index
                lines.append((around, None))
            if tag is not None:
                tag.around = around

    def _whole(self, trace: Trace) -> bool:
        """Whether a good part of the readings is in view, so that more of them than columns say nothing more."""
        if self.following or self.drawn_points or not len(trace.x):
            return not self.drawn_points
        first, last = (float(v) for v in axes.to_axis(trace.x[[0, -1]], self.x_scale))
        return bool(4 * (self.range[1] - self.range[0]) >= last - first)

    def _run_tag(
        self, run: str, k: int, trace: Trace, look: paper.Look, line: Line
    ) -> TagOf | None:
        m = self.measured[run]
        ink = look.run_ink(m.colour_index)
        if m.role == "ghost":
            if k:
                return None
            ink = look.faded(ink, 0.75)
            return TagOf(f"{run}/0", f"earlier run {m.label}".strip(), ink, line, bold=False)
        parts = m.parts if len(m.parts) == trace.k else ()
        if trace.k > MOST_PARTS and k not in (0, trace.k - 1):
            return None
        if m.role == "pinned" and k:
            return None
        part = parts[k] if parts and m.role != "pinned" else ""
        return TagOf(f"{run}/{k}", self._run_text(run, part, k), ink, line)

    def _run_text(self, run: str, part: str, k: int) -> str:
        """`measured, 5 seeds, 10–90 %`; with several runs their names, with several curves theirs."""
        m = self.measured[run]
        shown = [r for r in self.traces if self.measured[r].role != "ghost"]
        name = "measured" if len(shown) == 1 or not m.label else m.label
        if part:
            name = part if len(shown) == 1 else f"{m.label} {part}"
        if k:
            return name
        if m.seeds <= 1:
            return f"{name}, 1 seed"
        return f"{name}, {m.seeds} seeds, 10–90 %"

    def _theory_marks(
        self,
        run: str,
        name: str,
        t: Theory,
        look: paper.Look,
        lines: list[tuple[Mark, TagOf | None]],
        xs: list[Array],
        ys: list[Array],
    ) -> None:
        role = self.measured[run].role if run in self.measured else "live"
        x, values = theory_curves(t)
        x = axes.to_axis(x, self.x_scale)
        shown = np.isfinite(x)
        x = x[shown]
        if len(x) == 1:  # theory that does not depend on x
            x = np.array(self._span(float(x[0])))
            values = np.repeat(values[shown][:1], 2, axis=0)
            shown = np.ones(2, bool)
        ink = look.t.text if t.valid else look.faded(look.t.text, 0.5)
        if role == "ghost":
            ink = look.faded(look.t.text, GHOST)
        labelled = False
        for k in range(values.shape[1]):
            y = axes.to_axis(values[shown, k], self.y_scale)
            if not np.isfinite(y).any():
                continue
            xs.append(x[np.isfinite(y)])
            if role != "ghost":
                ys.append(y)
            dashes = THEORY_DASHES if t.valid else INVALID_DASHES
            line = Line(x, y, QColor(ink), width=THEORY_WIDTH, dashes=dashes)
            tag = None
            if not labelled and role != "ghost":
                tag = TagOf(
                    f"theory/{run}/{name}", theory_text(t), ink if t.valid else look.t.muted, line
                )
                tag.at_end = labelled = True
            lines.append((line, tag))

    def _span(self, at: float) -> tuple[float, float]:
        xs = [axes.to_axis(tr.x, self.x_scale) for tr in self.traces.values()]
        found = extent(xs)
        return found if found and found[1] > found[0] else (at, at + 1)

    # --- numbers and words ---

    def main_run(self) -> str | None:
        """The run that is spoken of first: selected before live before pinned before ghosts."""
        return max(self.traces, key=lambda r: ORDER[self.measured[r].role], default=None)

    def stops(self) -> Array:
        run = self.main_run()
        if run is not None:
            return self.traces[run].x
        return next((theory_curves(t)[0] for t in self.theory.values()), np.zeros(0))

    def readings(self, x: float) -> list[Reading]:
        look = paper.Look(theme.tokens())
        out: list[Reading] = []
        for run in sorted(self.traces, key=lambda r: -ORDER[self.measured[r].role]):
            m, trace = self.measured[run], self.traces[run]
            if m.role == "ghost" and len(out) > 3:
                continue
            at = _nearest(trace.x, x)
            if at is None:
                continue
            mine = [t for (r, _), t in self.theory.items() if r == run and t.kind == "curve"]
            for k in range(min(trace.k, MOST_PARTS)):
                part = m.parts[k] if k < len(m.parts) else ""
                name = " ".join(filter(None, (m.label or "measured", part)))
                said = theory_at(mine[0], x, k) if mine else float("nan")
                out.append(
                    Reading(name, look.run_ink(m.colour_index), float(trace.median[at, k]), said)
                )
        if not out:
            for (_, name), t in self.theory.items():
                out.append(Reading(t.label or name, look.t.text, theory_at(t, x, 0)))
        return out

    def table(self) -> tuple[list[str], list[list[Any]]]:
        """One row for each x of any curve; what a curve does not have there is None."""
        self.take_in()
        headers, columns = [self.x_label], []
        for run, trace in self.traces.items():
            m = self.measured[run]
            for k in range(trace.k):
                part = m.parts[k] if k < len(m.parts) else (f"{k + 1}" if trace.k > 1 else "")
                name = " ".join(filter(None, (m.label or run, part)))
                for what, y in (
                    ("median", trace.median),
                    ("10 %", trace.low),
                    ("90 %", trace.high),
                ):
                    if what == "median" or trace.values.shape[1] > 1:
                        headers.append(f"{name} {what}")
                        columns.append((trace.x, y[:, k]))
                if m.members_shown:
                    for j in range(trace.values.shape[1]):
                        headers.append(f"{name} member {j + 1}")
                        columns.append((trace.x, trace.values[:, j, k]))
        for (run, name), t in self.theory.items():
            if t.kind != "curve":
                continue
            x, values = theory_curves(t)
            owner = self.measured[run].label if run in self.measured else ""
            for k in range(values.shape[1]):
                which = str(k + 1) if values.shape[1] > 1 else ""
                headers.append(" ".join(filter(None, ("theory", owner, t.label or name, which))))
                columns.append((x, values[:, k]))
        if not columns:
            return headers, []
        grid = np.unique(np.concatenate([x for x, _ in columns]))
        rows: list[list[Any]] = [[float(g), *[None] * len(columns)] for g in grid]
        for j, (x, y) in enumerate(columns):
            places = np.searchsorted(grid, x)
            for i, v in zip(places, y, strict=True):
                rows[i][j + 1] = float(v) if np.isfinite(v) else None
        return headers, rows

    def summary(self) -> str:
        name = self.title or self.y_label
        run = self.main_run()
        if run is None or not len(self.traces[run].x):
            if self.theory:
                t = next(iter(self.theory.values()))
                return f"{name}: theory {t.label}; waiting for the first reading."
            return super().summary()
        m, trace = self.measured[run], self.traces[run]
        y = trace.median[:, 0]
        finite = np.flatnonzero(np.isfinite(y))
        seeds = "1 seed" if m.seeds <= 1 else f"{m.seeds} seeds"
        what = f"{self.y_label} against {self.x_label}, {m.label or 'measured'}, {seeds}"
        if not len(finite):
            return f"{name}: {what}; no finite reading."
        a, b = finite[0], finite[-1]
        say = axes.format_reading
        text = (
            f"{name}: {what}; from {say(float(y[a]))} at {axes.format_exact(float(trace.x[a]))} to {say(float(y[b]))} at "
            f"{axes.format_exact(float(trace.x[b]))}, between {say(float(np.nanmin(y[finite])))} and {say(float(np.nanmax(y[finite])))}"
        )
        for (r, _), t in self.theory.items():
            if r == run and t.kind == "curve":
                end = theory_at(t, float(trace.x[b]), 0)
                text += f"; theory {t.label or say(end)}"
                if not t.valid:
                    text += f", outside its assumptions: {t.reason}"
                elif np.isfinite(end) and end:
                    text += f", measured over theory {float(y[b]) / end:.3f}"
        others = len(self.traces) - 1
        if others:
            text += f"; {others} other run{'s' if others > 1 else ''}"
        return text + "."


def _nearest(x: Array, at: float) -> int | None:
    if not len(x):
        return None
    k = int(np.searchsorted(x, at))
    near = [j for j in (k - 1, k) if 0 <= j < len(x)]
    return min(near, key=lambda j: abs(x[j] - at))
