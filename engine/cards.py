"""An experiment as plain data: what the window, the command line and a session file know of it."""

from __future__ import annotations

from dataclasses import dataclass

from engine.spec import Knob, Value


@dataclass(frozen=True)
class MetricCard:
    name: str
    label: str
    symbol: str
    kind: str
    scale: str
    unit: str
    coords_label: str
    coords_scale: str
    parts: tuple[str, ...]


@dataclass(frozen=True)
class PredictionCard:
    name: str
    metric: str
    label: str
    source: str
    needs: str
    convention: str
    assumptions: tuple[str, ...]
    against: str


@dataclass(frozen=True)
class ClaimCard:
    key: str
    text: str
    source: str
    metrics: tuple[str, ...]
    rtol: float
    atol: float
    side: str
    seeds: int
    assumptions: tuple[str, ...]


@dataclass(frozen=True)
class PresetCard:
    name: str
    text: str
    values: dict[str, Value]
    sweep: dict[str, list[Value]]
    seeds: int
    expects: dict[str, str]  # complete: every claim


@dataclass(frozen=True)
class ViewCard:
    metrics: tuple[str, ...]
    title: str
    x_scale: str
    against: str


@dataclass(frozen=True)
class FormulaCard:
    tex: str
    text: str
    symbols: dict[str, str]


@dataclass(frozen=True)
class ReferenceCard:
    key: str
    title: str
    arxiv: str


@dataclass(frozen=True)
class Card:
    """An experiment as plain data."""

    name: str
    title: str
    area: str
    page: str  # Markdown: the module's docstring
    knobs: tuple[Knob, ...]
    metrics: tuple[MetricCard, ...]
    predictions: tuple[PredictionCard, ...]
    claims: tuple[ClaimCard, ...]
    presets: tuple[PresetCard, ...]
    views: tuple[ViewCard, ...]
    formulae: tuple[FormulaCard, ...]
    references: tuple[ReferenceCard, ...]
    sweep: dict[str, list[Value]]
    seeds: int
    dtype: str
    records: int
