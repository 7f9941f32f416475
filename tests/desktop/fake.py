"""An engine of cardboard: it keeps what it is sent and says what a test wants it to say."""

from __future__ import annotations

from typing import Any

import numpy as np
from PySide6.QtCore import QObject, Signal

from engine.messages import (
    Card,
    Catalogue,
    Changed,
    ClaimCard,
    Control,
    Describe,
    FormulaCard,
    Judged,
    Message,
    MetricCard,
    Open,
    Predict,
    Predicted,
    PredictionCard,
    PresetCard,
    ReferenceCard,
    Rows,
    Save,
    Saved,
    Start,
    Started,
    Status,
    ViewCard,
)
from engine.spec import Knob

PAGE = """Descent settles at the edge.

A *network* of cardboard. <script>alert(1)</script> [away](file:///etc/passwd) ![in](http://x.y/z.png)

Departures from the paper:
- none is real.
"""


def knobs() -> tuple[Knob, ...]:
    return (
        Knob("lr", "real", 0.1, 1e-3, 1.0, "log", "", "Learning rate", "η", "Step size.", hot=True),
        Knob("width", "int", 64, 4, 1024, "log", "neurons", "Width", "n", "Neurons."),
        Knob("noise", "real", 0.0, 0.0, 2.0, "linear", "", "Label noise", "σ", "Noise."),
        Knob(
            "activation",
            "choice",
            "tanh",
            label="Activation",
            meaning="Which.",
            choices=("tanh", "relu"),
        ),
        Knob("steps", "int", 200, 1, 10000, "log", "steps", "Steps", "T", "Steps."),
    )


def card(name: str = "stability/cardboard", **more: Any) -> Card:
    given: dict[str, Any] = dict(
        name=name,
        title="Gradient descent stands at the edge of cardboard",
        area=name.partition("/")[0],
        page=PAGE,
        knobs=knobs(),
        metrics=(
            MetricCard("sharpness", "sharpness", "λ₁", "scalar", "linear", "", "", "linear", ()),
            MetricCard("loss", "training loss", "", "scalar", "log", "", "", "linear", ()),
            MetricCard("modes", "modes", "s", "modes", "linear", "", "", "linear", ("first", "second")),
            MetricCard("density", "density", "ρ", "profile", "linear", "", "x", "linear", ()),
        ),
        predictions=(
            PredictionCard("threshold", "sharpness", "2/η", "paper", "hp", "MSE ½", ("full batch", "σ = 0"), ""),
        ),
        claims=(
            ClaimCard(
                "edge", "Late sharpness is 2/η", "paper", ("sharpness",), 0.05, 0.0, "==", 4, ("full batch", "σ = 0")
            ),
        ),
        presets=(
            PresetCard("default", "It settles.", {}, {}, 3, {"edge": "holds"}),
            PresetCard("wide", "Wider.", {"width": 256}, {}, 3, {"edge": "holds"}),
            PresetCard("widths", "Several widths.", {}, {"width": [16, 64, 256]}, 2, {"edge": "holds"}),
        ),
        views=(
            ViewCard(("sharpness",), "", "linear", ""),
            ViewCard(("loss",), "", "linear", ""),
            ViewCard(("modes",), "", "linear", ""),
            ViewCard(("sharpness",), "Sharpness over width", "linear", "width"),
        ),
        formulae=(FormulaCard(r"\lambda_1 \le \frac{2}{\eta}", "Sharpness settles.", {r"\eta": "lr"}),),
        references=(ReferenceCard("paper", "A paper on cardboard", "2103.00065"),),
        sweep={},
        seeds=3,
        dtype="float32",
        records=50,
    )  # fmt: skip
    return Card(**(given | more))


def catalogue() -> Catalogue:
    return Catalogue((card(), card("kernels/paper", title="Paper has kernels")), ("cpu",))


def started(run: str, start: Start | None = None) -> Started:
    start = start or Start(run, "stability/cardboard")
    values = {k.name: k.default for k in knobs()} | dict(start.values)
    seeds = start.seeds or 3
    swept = [(k, v) for k, v in start.sweep.items()]
    settings: list[dict[str, Any]] = [{}]
    for name, options in swept:
        settings = [{**s, name: o} for s in settings for o in options]
    members: dict[str, list[Any]] = {"seed": []} | {k: [] for k, _ in swept}
    for s in settings:
        for seed in range(seeds):
            members["seed"].append(seed)
            for k, v in s.items():
                members[k].append(v)
    stacks = tuple(range(0, seeds * len(settings), seeds)) if "width" in start.sweep else (0,)
    return Started(
        run, start.experiment, values | settings[0], {k: list(v) for k, v in start.sweep.items()},
        {k: np.array(v) for k, v in members.items()}, stacks, int(values["steps"]),
        start.dtype or "float32", "cpu", start.preset, start.parent, start.parent_step, {"python": "3"},
        "2026-01-01T00:00:00Z",
    )  # fmt: skip


def rows(
    run: str, metric: str, steps: Any, first: int = 0, members: int = 3, level: float = 20.0
) -> Rows:
    steps = np.asarray(steps, np.int64)
    k = np.arange(members)
    values = level + np.sin(steps[:, None] / 20 + k) + first
    if metric == "loss":
        values = np.exp(-steps[:, None] / 100) * (1 + 0.1 * k)
    if metric == "modes":
        values = np.stack([values, values / 2], axis=2)
    return Rows(run, metric, first, steps, values.astype(np.float32))


def predicted(run: str, value: float = 20.0, valid: bool = True) -> Predicted:
    steps = np.arange(0, 201, 10)
    return Predicted(
        run, "threshold", "sharpness", 0, steps, np.full((len(steps), 1), value), valid,
        () if valid else ("σ = 0",), f"2/η = {value:g}", 3,
    )  # fmt: skip


def judged(run: str, outcome: str = "holds", interim: bool = False) -> Judged:
    why = {
        "holds": "",
        "fails": "differs by more than 1",
        "undecided": "outside its assumptions: σ = 0",
    }
    broken = ("σ = 0",) if outcome == "undecided" else ()
    return Judged(
        run,
        "edge",
        "Late sharpness is 2/η",
        outcome,
        19.96,
        20.0,
        0.03,
        why[outcome],
        broken,
        "==",
        interim,
    )


def stream(run: str, start: Start | None = None) -> list[Message]:
    """What a short run says, in order."""
    begun = started(run, start)
    each = len(begun.members["seed"]) // len(begun.stacks)
    out: list[Message] = [begun, Status(run, "queued", 0), Status(run, "running", 0)]
    out.append(predicted(run, 2 / float(begun.values["lr"])))
    for chunk in np.array_split(np.arange(0, 201, 5), 4):
        for first in begun.stacks:
            for metric in ("sharpness", "loss", "modes"):
                out.append(rows(run, metric, chunk, first, each))
        out.append(Status(run, "running", int(chunk[-1]), rate=400.0))
    out += [Changed(run, 100, "lr", 0.2), judged(run), Status(run, "done", 200)]
    return out


class FakeLink(QObject):
    """Keeps what is sent. `answer=True` answers as an engine would, at once."""

    received = Signal(object)

    def __init__(self, answer: bool = False) -> None:
        super().__init__()
        self.answer = answer
        self.sent: list[Message] = []

    def send(self, message: Message) -> None:
        self.sent.append(message)
        if self.answer:
            self._reply(message)

    def of(self, kind: type) -> list[Any]:
        return [m for m in self.sent if isinstance(m, kind)]

    def say(self, *messages: Message) -> None:
        for m in messages:
            self.received.emit(m)

    def _reply(self, message: Message) -> None:
        match message:
            case Describe():
                self.say(catalogue())
            case Start():
                self.say(started(message.run, message), Status(message.run, "running", 0))
            case Predict():
                self.say(predicted(message.run, 2 / float(message.values["lr"])))
            case Control(verb="set"):
                self.say(Changed(message.run, 40, message.knob, message.value))
            case Control(verb="pause"):
                self.say(Status(message.run, "paused", 20))
            case Control(verb="resume"):
                self.say(Status(message.run, "running", 20))
            case Control(verb="cancel"):
                self.say(Status(message.run, "cancelled", 20))
            case Save():
                self.say(Saved(message.path, runs=message.runs))
            case Open():
                pass
