"""What a session file remembers of how its runs were shown: written on saving, heeded on opening. No widgets."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from engine.messages import Opened

if TYPE_CHECKING:
    from desktop.store import Store


def layout(store: Store, runs: Iterable[str]) -> dict[str, Any]:
    """The looks of these runs, in their order."""
    order = [i for i in runs if i in store.runs]
    looks = [
        {"label": r.label, "role": r.role, "colour": r.colour, "hidden": r.hidden}
        for r in (store.runs[i] for i in order)
    ]
    return {"runs": looks, "current": order.index(store.current) if store.current in order else -1}


def arrange(store: Store, m: Opened) -> tuple[list[str], str]:
    """Names and looks from the file; whatever does not fit is left out, for the file may be anyone's.

    Gives the runs whose looks changed, and the one to be shown (empty: none is here).
    """
    try:
        told = json.loads(m.layout) if m.layout else {}
    except (ValueError, RecursionError):
        told = {}
    told = told if isinstance(told, dict) else {}
    looks = told.get("runs")
    looks = looks if isinstance(looks, list) else []
    changed = []
    for run, look in zip((store.runs.get(i) for i in m.runs), looks, strict=False):
        if run is None or not isinstance(look, dict):
            continue
        if isinstance(look.get("label"), str):
            run.label = " ".join(look["label"].split())[:80]
        if look.get("role") in ("live", "ghost", "pinned"):
            run.role = look["role"]
        colour = look.get("colour")
        others = {r.colour for r in store.of_experiment(run.experiment) if r.id not in m.runs}
        if isinstance(colour, int) and 0 <= colour < 1000 and colour not in others:
            run.colour = colour
        run.hidden = look.get("hidden") is True
        changed.append(run.id)
    at = told.get("current", -1)
    here = [i for i in m.runs if i in store.runs]
    if not here:
        return changed, ""
    return changed, here[at] if isinstance(at, int) and 0 <= at < len(here) else here[-1]
