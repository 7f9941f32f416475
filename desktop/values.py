"""The values on the controls: knobs, sweep, seeds, precision, and what they ask of the engine. No Qt."""

from __future__ import annotations

import random
from typing import Any

from desktop.runs import Run
from desktop.widgets.knob_values import Ticks
from engine.messages import Card, Predict, PresetCard, Start
from engine.spec import Knob, Value


class Values:
    """Mixed into the lab, which says what changed."""

    card: Card | None
    values: dict[str, Value]
    sweep: dict[str, list[Value]]
    seeds: int
    first_seed: int
    dtype: str
    device: str
    preset: str  # whose values these are; empty: nobody's

    def clear(self) -> None:
        self.card, self.values, self.sweep = None, {}, {}
        self.seeds, self.first_seed = 1, 0
        self.dtype, self.device, self.preset = "", "cpu", ""

    def defaults(self) -> None:
        assert self.card is not None
        self.values = {k.name: k.default for k in self.card.knobs}
        self.sweep = {k: list(v) for k, v in self.card.sweep.items()}
        self.seeds, self.first_seed = self.card.seeds, 0
        self.dtype = self.card.dtype
        self.preset = self.card.presets[0].name if self.card.presets else ""
        if self.card.presets:
            self.take(self.card.presets[0])

    def take(self, preset: PresetCard) -> None:
        assert self.card is not None
        self.values = {k.name: k.default for k in self.card.knobs} | dict(preset.values)
        self.sweep = {k: list(v) for k, v in preset.sweep.items()}
        if self.sweep == self.card.sweep:  # the experiment's own: a value that is set ends it
            self.sweep = {k: v for k, v in self.sweep.items() if k not in preset.values}
        self.seeds, self.preset = preset.seeds or self.card.seeds, preset.name

    def preset_named(self, name: str) -> PresetCard | None:
        presets = self.card.presets if self.card else ()
        return next((p for p in presets if p.name == name), None)

    def matching(self) -> str:
        """The preset whose values, sweep and seeds are on the controls."""
        if self.card is None:
            return ""
        for preset in self.card.presets:
            values = {k.name: k.default for k in self.card.knobs} | dict(preset.values)
            sweep = dict(preset.sweep)
            if sweep == self.card.sweep:
                sweep = {k: v for k, v in sweep.items() if k not in preset.values}
            same = all(v == values.get(k) for k, v in self.values.items() if k not in self.sweep)
            if same and sweep == self.sweep:
                return preset.name
        return ""

    def snapshot(self) -> tuple[Any, ...]:
        return (
            dict(self.values),
            {k: list(v) for k, v in self.sweep.items()},
            self.seeds,
            self.preset,
        )

    def fixed(self) -> dict[str, Value]:
        """The values of knobs that are not swept."""
        return {k: v for k, v in self.values.items() if k not in self.sweep}

    def request(self, run: str) -> Start:
        assert self.card is not None
        return Start(
            run=run,
            experiment=self.card.name,
            values=self.fixed(),
            sweep={k: list(v) for k, v in self.sweep.items()},
            seeds=self.seeds,
            first_seed=self.first_seed,
            dtype=self.dtype,
            device=self.device,
            preset=self.preset,
        )

    def question(self, ticket: str) -> Predict:
        assert self.card is not None
        return Predict(
            ticket, self.card.name, self.fixed(), dict(self.sweep), 1, self.first_seed, self.dtype
        )


def branch_of(run: Run, step: int, new: str) -> Start:
    """The run once more, from its checkpoint at `step`, waiting there."""
    return Start(
        run=new,
        experiment=run.experiment,
        values={k: v for k, v in run.values.items() if k not in run.sweep},
        sweep={k: list(v) for k, v in run.sweep.items()},
        seeds=run.seeds,
        first_seed=int(min(run.members["seed"])) if "seed" in run.members else 0,
        dtype=run.dtype,
        device=run.device,
        parent=run.id,
        parent_step=step,
        changes=tuple(c for c in run.changes if c.step <= step),
        paused=True,
    )


def repeats(start: Start, run: Run) -> bool:
    """Whether nothing is lost by forgetting a run: unseen, or about to be repeated bit for bit."""
    if run.role != "live" or run.opened or run.label:
        return False
    own = {k: v for k, v in run.values.items() if k not in run.sweep}
    mine = (own, run.sweep, run.seeds, run.dtype)
    repeated = mine == (start.values, start.sweep, start.seeds, start.dtype)
    return not run.has_rows or (repeated and not run.changes)


def random_value(knob: Knob) -> Value:
    if knob.kind == "choice":
        return random.choice(knob.choices)
    ticks = Ticks(knob)
    return ticks.value(random.randint(ticks.first, ticks.last))
