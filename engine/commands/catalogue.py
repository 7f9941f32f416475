"""`list` and `show`: the experiments and what they declare."""

from __future__ import annotations

import argparse
import sys
from typing import Any

from engine.client import Client
from engine.commands.shared import find, say
from engine.messages import Card
from engine.spec import Knob


def knob_json(k: Knob) -> dict[str, Any]:
    out: dict[str, Any] = {
        "name": k.name,
        "kind": k.kind,
        "default": k.default,
        "low": k.low,
        "high": k.high,
        "scale": k.scale,
        "unit": k.unit,
        "hot": k.hot,
        "label": k.label,
        "symbol": k.symbol,
        "meaning": k.meaning,
    }
    if k.kind == "choice":
        out |= {"choices": list(k.choices), "low": None, "high": None, "scale": None}
    return out


def card_json(c: Card) -> dict[str, Any]:
    return {
        "name": c.name,
        "title": c.title,
        "area": c.area,
        "knobs": [knob_json(k) for k in c.knobs],
        "metrics": [
            {"name": m.name, "label": m.label, "kind": m.kind, "unit": m.unit} for m in c.metrics
        ],
        "predictions": [
            {
                "name": p.name,
                "metric": p.metric,
                "label": p.label,
                "source": p.source,
                "assumptions": list(p.assumptions),
                "convention": p.convention,
            }
            for p in c.predictions
        ],
        "presets": [
            {
                "name": p.name,
                "text": p.text,
                "values": p.values,
                "sweep": p.sweep,
                "seeds": p.seeds,
                "expects": p.expects,
            }
            for p in c.presets
        ],
        "claims": [
            {
                "key": k.key,
                "text": k.text,
                "source": k.source,
                "metrics": list(k.metrics),
                "rtol": k.rtol,
                "atol": k.atol,
                "side": k.side,
                "seeds": k.seeds,
                "assumptions": list(k.assumptions),
            }
            for k in c.claims
        ],
        "references": [{"key": r.key, "title": r.title, "arxiv": r.arxiv} for r in c.references],
        "sweep": c.sweep,
        "seeds": c.seeds,
        "dtype": c.dtype,
    }


async def list_(args: argparse.Namespace) -> int:
    async with Client(1, keep=False) as client:
        assert client.catalogue is not None
        for problem in client.catalogue.problems:
            print(f"lemmascope: {problem}", file=sys.stderr)
        for s in client.catalogue.strangers:
            if s.allowed and s.problem:
                print(f"lemmascope: {s.problem}", file=sys.stderr)
        if args.json:
            say([card_json(c) for c in client.catalogue.cards])
        else:
            wide = max((len(c.name) for c in client.catalogue.cards), default=0)
            for c in client.catalogue.cards:
                print(f"{c.name:{wide}}  {c.title}")
    return 0


async def show(args: argparse.Namespace) -> int:
    async with Client(1, keep=False) as client:
        card = find(client, args.name)
        if args.json:
            formulae = [{"tex": f.tex, "text": f.text, "symbols": f.symbols} for f in card.formulae]
            say(card_json(card) | {"page": card.page, "formulae": formulae})
            return 0
        print(f"{card.title}\n\n{card.page}\n\nKnobs")
        for k in card.knobs:
            span = (
                ", ".join(k.choices) if k.kind == "choice" else f"{k.low:g} … {k.high:g} {k.unit}"
            )
            print(
                f"  {k.name} = {k.default}   [{span.strip()}]  {k.meaning}{' (hot)' if k.hot else ''}"
            )
        for title, rows in (
            ("Metrics", [f"{m.name}: {m.label}" for m in card.metrics]),
            ("Predictions", [f"{p.metric}: {p.label} ({p.source})" for p in card.predictions]),
            ("Claims", [f"{c.key}: {c.text}" for c in card.claims]),
            ("Presets", [f"{p.name}: {p.text}" for p in card.presets]),
            ("Formulae", [f"{f.tex}   {f.text}" for f in card.formulae]),
            (
                "References",
                [f"{r.title}{f', arXiv:{r.arxiv}' if r.arxiv else ''}" for r in card.references],
            ),
        ):
            print(f"\n{title}")
            for row in rows:
                print(f"  {row}")
    return 0
