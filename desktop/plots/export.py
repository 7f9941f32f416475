"""Pictures and tables of a plot."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from desktop.plots.base import PlotView


def export(
    plot: PlotView,
    path: str | Path,
    *,
    width_px: int = 1200,
    height_px: int = 750,
    dpi: int = 144,
    paper: bool = False,
    metadata: Mapping[str, object] | None = None,
) -> None:
    raise NotImplementedError
