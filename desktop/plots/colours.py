"""Colour maps of matrices: cividis for values, and one that diverges from the surface's colour for differences."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np

from desktop import resources
from desktop.theme_tokens import Tokens

Array = np.ndarray[Any, Any]

LEVELS = 256


def _table(anchors: list[str]) -> Array:
    rgb = np.array([[int(a[i : i + 2], 16) for i in (0, 2, 4)] for a in anchors], float)
    at = np.linspace(0, LEVELS - 1, len(anchors))
    grid = np.arange(LEVELS)
    return np.stack([np.interp(grid, at, rgb[:, k]) for k in range(3)], 1).round().astype(np.uint8)


@lru_cache(maxsize=1)
def cividis() -> Array:
    """(256, 3) uint8, dark blue to yellow: seen alike with and without colour-vision deficiency (Nuñez, Anderton,
    Renslow 2018)."""
    return _table(resources.path("maps", "cividis.txt").read_text().split())


@lru_cache(maxsize=4)
def diverging(t: Tokens) -> Array:
    """(256, 3) uint8: too small in the first run's colour, nothing in the surface's, too large in the second's."""
    return _table([t.runs[0][1:], t.surface[1:], t.runs[1][1:]])


def painted(values: Array, low: float, high: float, table: Array, missing: str) -> Array:
    """(p, q) values -> (p, q, 3) uint8; what is not finite takes the colour `missing`."""
    finite = np.isfinite(values)
    part = (np.where(finite, values, low) - low) / (high - low if high > low else 1.0)
    out = table[np.clip(np.round(part * (LEVELS - 1)), 0, LEVELS - 1).astype(int)]
    out[~finite] = [int(missing[i : i + 2], 16) for i in (1, 3, 5)]
    return np.asarray(out)
