"""All that passes between desktop and engine: frozen, plain data. `engine.encoding` has its one binary form."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from engine.cards import (
    Card,
    ClaimCard,
    FormulaCard,
    MetricCard,
    PredictionCard,
    PresetCard,
    ReferenceCard,
    ViewCard,
)
from engine.spec import Knob, Value

Array = np.ndarray[Any, Any]
State = Literal["queued", "running", "paused", "done", "stopped", "cancelled", "failed"]

# --- desktop to engine ---


@dataclass(frozen=True)
class Describe:
    pass


@dataclass(frozen=True)
class Changed:
    """A hot knob took a new value from `step` on."""

    run: str
    step: int
    knob: str
    value: Value
    first: int = 0  # the stack


@dataclass(frozen=True)
class Start:
    run: str  # a fresh id
    experiment: str
    values: dict[str, Value] = field(default_factory=dict)  # the rest keep their defaults
    sweep: dict[str, list[Value]] = field(default_factory=dict)  # members: the product, times seeds
    seeds: int = 0  # 0: the experiment's own number; seeds are first_seed, first_seed + 1, …
    first_seed: int = 0
    dtype: str = ""  # "", "float32", "float64"
    device: str = "cpu"
    preset: str = ""
    parent: str = ""  # branch: a run of this engine …
    parent_step: int = -1  # … and the step of one of its checkpoints
    paused: bool = False  # stop before the first step
    changes: tuple[Changed, ...] = ()  # hot knobs' history to repeat


@dataclass(frozen=True)
class Control:
    run: str
    verb: Literal["pause", "resume", "step", "set", "cancel", "checkpoint"]
    knob: str = ""  # set: a hot knob
    value: Value = 0
    steps: int = 0  # step: go on so many steps, then pause


@dataclass(frozen=True)
class Predict:
    """Theory for values that need not be running; the answer's `run` is this ticket."""

    run: str
    experiment: str
    values: dict[str, Value]
    sweep: dict[str, list[Value]] = field(default_factory=dict)
    seeds: int = 1
    first_seed: int = 0
    dtype: str = ""


@dataclass(frozen=True)
class Save:
    path: str
    runs: tuple[str, ...]
    notes: str = ""
    layout: str = ""  # JSON of the window's own
    overwrite: bool = False  # replace a file that is no session


@dataclass(frozen=True)
class Open:
    """A session file, or the journal that an `Orphaned` named."""

    path: str


@dataclass(frozen=True)
class Discard:
    """A journal that an `Orphaned` named is not wanted."""

    path: str


@dataclass(frozen=True)
class Forget:
    """A run that nobody can ask for any more: it stops, and nothing of it is kept."""

    run: str


@dataclass(frozen=True)
class Allow:
    """The person read what enabling means: the user's experiment at `path` may run while its bytes have this hash."""

    path: str
    sha256: str  # empty: no longer allowed


# --- engine to desktop, and to the session file: the same stream ---


@dataclass(frozen=True)
class Stranger:
    """A file in the folder for users' own experiments. It is code, and nothing of it has run unless it is allowed."""

    path: str
    sha256: str
    allowed: bool = False
    changed: bool = False  # it was allowed with other bytes
    problem: str = ""  # allowed, and could not be loaded: one sentence


@dataclass(frozen=True)
class Catalogue:
    cards: tuple[Card, ...]
    devices: tuple[str, ...]  # "cpu", and "cuda:0" … where there are
    problems: tuple[str, ...] = ()  # experiments that could not be loaded, a sentence each
    strangers: tuple[Stranger, ...] = ()


@dataclass(frozen=True)
class Orphaned:
    """A journal that no process holds: what a crash left. Said once, when the service starts."""

    path: str
    experiment: str
    steps: int  # the last step that it knows of
    last: float  # time of its last record, seconds since 1970
    preview: Array | None = None  # (2, n): steps and one reading's mean over the members


@dataclass(frozen=True)
class Started:
    run: str
    experiment: str
    values: dict[str, Value]  # complete, checked
    sweep: dict[str, list[Value]]
    members: dict[str, Array]  # "seed" and each swept knob -> (members,); choices as indices
    stacks: tuple[int, ...]  # first member of each stack
    steps: int
    dtype: str
    device: str
    preset: str
    parent: str
    parent_step: int
    environment: dict[str, str]  # versions, threads, platform
    started: str  # ISO 8601, UTC
    choices: dict[str, list[str]] = field(default_factory=dict)  # of swept choice knobs


@dataclass(frozen=True)
class Rows:
    """Readings of one metric for the members [first, first + values.shape[1])."""

    run: str
    metric: str
    first: int
    steps: Array  # (T,) int64, increasing
    values: Array  # (T, members of the stack, *shape)
    coords: Array | None = None  # profile: (m,), with the first rows of a stack


@dataclass(frozen=True)
class Predicted:
    run: str  # a run, or a Predict's ticket
    prediction: str
    metric: str
    first: int  # first member that these values speak of
    steps: Array  # (T,)
    values: Array  # (T, members, *shape); (T, 1, *shape) speaks for all members of one setting
    valid: bool = True  # every assumption holds at these values
    broken: tuple[str, ...] = ()
    text: str = ""  # the label with its number: "2/η = 20.0"
    count: int = 1  # how many members from `first` on these values speak of


@dataclass(frozen=True)
class Judged:
    run: str
    claim: str
    text: str
    outcome: str
    measured: float
    expected: float
    spread: float
    why: str
    broken: tuple[str, ...]
    side: str = "=="
    interim: bool = False  # the run is still going


@dataclass(frozen=True)
class Checkpoint:
    """The state of one stack after `step` steps. Subscribers get it without arrays."""

    run: str
    step: int
    first: int
    arrays: dict[str, Array]  # "params/W" -> (members, *shape)


@dataclass(frozen=True)
class Thinned:
    """The checkpoints at these steps are no longer kept: a run has so many at most."""

    run: str
    steps: tuple[int, ...]


@dataclass(frozen=True)
class Rewound:
    """What was measured of a stack behind this step, before a crash, is of another course than it takes now: it goes."""

    run: str
    first: int
    step: int


@dataclass(frozen=True)
class Status:
    run: str
    state: State
    step: int
    why: str = ""  # stopped: the label; failed: one sentence
    rate: float = 0.0  # steps a second
    tiers: dict[str, int] = field(default_factory=dict)  # tier -> steps it ran


@dataclass(frozen=True)
class Saved:
    path: str
    why: str = ""  # empty: saved
    runs: tuple[str, ...] = ()  # which it has


@dataclass(frozen=True)
class Opened:
    path: str
    runs: tuple[str, ...]
    notes: str = ""
    layout: str = ""
    why: str = ""  # empty: opened
    notice: str = ""  # opened, yet this must be said
    held: str = (
        ""  # who has it open already ("process 4711 on pc7"): it cannot be saved under this name
    )
    cards: tuple[Card, ...] = ()  # of experiments that are not installed here: curves, no training


@dataclass(frozen=True)
class Refused:
    """A request that could not be served, in one sentence."""

    run: str
    why: str


@dataclass(frozen=True)
class Hello:
    """A worker is warm."""

    pid: int
    environment: dict[str, str]


# --- between the service and its workers ---


@dataclass(frozen=True)
class Job:
    """Train one stack of a run from `step` (with the state there) until `until`; then it ends, paused or done."""

    run: str
    start: Start
    first: int
    step: int
    until: int  # -1: to the end
    arrays: dict[str, Array]  # the state at `step`; empty: initialise
    changes: tuple[Changed, ...] = ()
    started: Started | None = None
    journal: str = ""  # the run's folder; empty: nothing is kept


@dataclass(frozen=True)
class Judge:
    run: str
    start: Start
    rows: tuple[Rows, ...]  # one for each metric and stack
    changes: tuple[Changed, ...] = ()
    interim: bool = False


@dataclass(frozen=True)
class JudgedAll:
    """Every claim of a run has been answered."""

    run: str
    interim: bool
    seconds: float = 0.0  # that it took


@dataclass(frozen=True)
class Ended:
    """A job is over: its stack stands at `step`, in this state."""

    run: str
    first: int
    state: State
    step: int
    why: str = ""
    tiers: dict[str, int] = field(default_factory=dict)  # tier -> steps it ran in this job


@dataclass(frozen=True)
class Quit:
    pass


Message = Any
KINDS: dict[str, type] = {
    c.__name__: c
    for c in (
        Describe, Start, Control, Predict, Save, Open, Discard, Forget, Allow, Catalogue, Orphaned, Started, Rows, Predicted, Judged, Changed,
        Checkpoint, Thinned, Status, Saved, Opened, Refused, Hello, Job, Judge, JudgedAll, Ended, Quit,
    )
}  # fmt: skip
PARTS: dict[str, type] = {
    c.__name__: c
    for c in (
        Card, Knob, Stranger, MetricCard, PredictionCard, ClaimCard, PresetCard, ViewCard, FormulaCard, ReferenceCard,
    )
}  # fmt: skip
