"""Runs named by their differences: `η = 0.1, width = 256`. No Qt."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from engine.messages import Card
from engine.spec import Knob, Value

if TYPE_CHECKING:
    from desktop.runs import Run


def knob_word(knob: Knob) -> str:
    """How a knob is called where there is little room: its Greek letter, or its key in words."""
    plain = knob.symbol.isascii()
    return knob.name.replace("_", " ") if plain else knob.symbol


def number(value: Any) -> str:
    """A value in the digits that a person would write: `0.1`, `1e-5`, `4096`."""
    if isinstance(value, float):
        text = f"{value:.4g}"
        if "e" in text:
            digits, exponent = text.split("e")
            return f"{digits}e{int(exponent)}"
        return text
    return str(value)


def several(values: Iterable[Value]) -> str:
    shown = [number(v) for v in values]
    return ", ".join(shown) if len(shown) <= 2 else f"{shown[0]}…{shown[-1]}"


def traits(run: Run) -> dict[str, str]:
    """Everything that tells runs apart, as it is written in a name."""
    out = {k: number(v) for k, v in run.values.items() if k not in run.sweep}
    out |= {k: several(v) for k, v in run.sweep.items()}
    out["seeds"] = str(run.seeds)
    out["dtype"] = run.dtype
    for c in sorted(run.changes, key=lambda c: c.step):
        if c.knob in out and not out[c.knob].endswith(number(c.value)):
            out[c.knob] = f"{out[c.knob].split(' → ')[0]} → {number(c.value)}"
    return out


def names(runs: list[Run], card: Card | None) -> dict[str, str]:
    """A name for each run of one experiment. What all have in common is left out; a lone run says how it differs
    from the defaults."""
    all_traits = {r.id: traits(r) for r in runs}
    keys: list[str] = []
    order = [k.name for k in card.knobs] if card else []
    known = [*order, *sorted({k for t in all_traits.values() for k in t} - set(order))]
    for key in known:
        seen = {t.get(key, "") for t in all_traits.values()}
        if len(seen) > 1:
            keys.append(key)
    if not keys and runs:
        keys = _unusual(all_traits[runs[0].id], card)
    words = {k.name: knob_word(k) for k in card.knobs} if card else {}
    out: dict[str, str] = {}
    taken: dict[str, int] = {}
    for r in runs:
        t = all_traits[r.id]
        parts = [_said(words.get(k, k), t[k]) for k in keys if t.get(k)]
        name = ", ".join(parts) or "default values"
        taken[name] = taken.get(name, 0) + 1
        out[r.id] = name if taken[name] == 1 else f"{name} ({taken[name]})"
    return out


def _said(word: str, value: str) -> str:
    if word == "dtype":
        return value
    return f"{value} seeds" if word == "seeds" else f"{word} = {value}"


def _unusual(own: Mapping[str, str], card: Card | None) -> list[str]:
    if card is None:
        return []
    usual = {k.name: number(k.default) for k in card.knobs}
    usual |= {k: several(v) for k, v in card.sweep.items()}
    return [k.name for k in card.knobs if own.get(k.name, "") != usual.get(k.name)]
