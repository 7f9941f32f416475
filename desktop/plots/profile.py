"""A profile: one reading over its coordinates (layers, eigen-directions, input angles), as of now."""

from __future__ import annotations

from desktop.plots.curves import CurvesPlot


class ProfilePlot(CurvesPlot):
    """`Measured.x` holds the coordinates (m,), `values` (m, members, k). Readings are marked while they are few."""

    MOST_MARKED = 64

    @property
    def drawn_points(self) -> bool:  # type: ignore[override]
        longest = max((len(m.x) for m in self.measured.values()), default=0)
        return longest <= self.MOST_MARKED
