"""What the palette lists: every action, experiment, preset and recent file; and what a query sets: `lr 0.3`."""

from __future__ import annotations

import functools
import os
import re
from collections.abc import Callable

from desktop import examples
from desktop.actions import Registry
from desktop.lab import Lab
from desktop.naming import number
from desktop.panels.gallery import area_title, short_title, spelt
from desktop.widgets.knob_values import parse_value
from desktop.widgets.palette import Entry
from engine.spec import Knob, Value


def entries(
    registry: Registry,
    lab: Lab,
    recent: list[str],
    open_file: Callable[[str], None],
    ask: Callable[[str], None],
) -> list[Entry]:
    registry.refresh()
    out = []
    for a in registry.all():
        made = registry.qaction(a.id)
        menu = " › ".join(a.menu)
        out.append(
            Entry(
                "Action",
                made.text(),
                functools.partial(registry.run, a.id),
                made.shortcut().toString(),
                registry.enabled(a.id),
                a.id,
                menu,
            )
        )
    for card in lab.store.cards.values():
        out.append(
            Entry(
                "Result",
                f"{area_title(card.area)}: {short_title(card)}",
                functools.partial(lab.show, card.name),
                "open" if card is lab.card else "",
                key=card.name,
                more=card.title,
            )
        )
    if lab.card is not None:
        for p in lab.card.presets:
            out.append(
                Entry(
                    "Preset",
                    spelt(p.name),
                    functools.partial(lab.choose_preset, p.name),
                    p.text,
                    key=f"preset:{p.name}",
                )
            )
        for knob in lab.card.knobs:
            out.append(
                Entry(
                    "Value",
                    f"Set {knob.label} {knob.symbol}".strip() + "…",
                    functools.partial(ask, f"{knob.name} "),
                    f"now {number(lab.values[knob.name])}",
                    key=f"ask:{knob.name}",
                    more=knob.name,
                )
            )
    for path in recent:
        out.append(
            Entry(
                "File",
                os.path.basename(path),
                functools.partial(open_file, path),
                os.path.dirname(path),
                key=path,
            )
        )
    for path in examples.paths():
        title, what = examples.shown(path, lab.store.cards)
        open_it = functools.partial(open_file, path)
        out.append(Entry("File", f"Open example: {title}", open_it, key=path, more=what))
    return out


def knob_named(knobs: tuple[Knob, ...], word: str) -> Knob | None:
    """By key, symbol or label, whatever is written; a beginning will do where it is the only one."""
    word = word.casefold().strip()
    if not word:
        return None
    names = {
        k.name: {
            k.name.casefold(),
            k.name.replace("_", " "),
            k.symbol.casefold(),
            k.label.casefold(),
        }
        for k in knobs
    }
    exact = [k for k in knobs if word in names[k.name]]
    if exact:
        return exact[0]
    begins = [k for k in knobs if any(n.startswith(word) for n in names[k.name])]
    return begins[0] if len(begins) == 1 and len(word) > 1 else None


def named_in(knobs: tuple[Knob, ...], query: str) -> tuple[Knob, list[str]] | None:
    """The knob that a query begins with, and the words after it: `learning rate 0.3`, `lr=0.3`."""
    name, mark, rest = query.replace(":", "=", 1).partition("=")
    if mark:
        knob = knob_named(knobs, name)
        return (knob, re.split(r"[\s;]+", rest.strip())) if knob is not None else None
    words = query.split()
    for i in range(len(words) - 1, 0, -1):
        if (knob := knob_named(knobs, " ".join(words[:i]))) is not None:
            return knob, words[i:]
    return None


def assignments(lab: Lab) -> Callable[[str], list[Entry]]:
    """`lr 0.3` sets, `width 64 128 256` sweeps; what cannot be says why."""

    def parse(query: str) -> list[Entry]:
        card = lab.card
        found = named_in(card.knobs, query) if card is not None else None
        if found is None or not any(found[1]):
            return []
        knob, words = found
        name = f"{knob.label} {knob.symbol}".strip()
        try:
            values: list[Value] = [parse_value(knob, w, lab.values[knob.name]) for w in words if w]
        except ValueError as e:
            return [Entry("Value", f"Set {name}", lambda: None, str(e), enabled=False)]
        if len(values) == 1:
            return [
                Entry(
                    "Value",
                    f"Set {name} to {number(values[0])}",
                    lambda: lab.commit(knob.name, values[0]),
                    f"now {number(lab.values[knob.name])}",
                    key=f"set:{knob.name}",
                )
            ]
        shown = ", ".join(number(v) for v in values)
        return [
            Entry(
                "Value",
                f"Sweep {name} over {shown}",
                lambda: lab.set_sweep(knob.name, values),
                f"{len(values)} values",
                key=f"sweep:{knob.name}",
            )
        ]

    return parse
