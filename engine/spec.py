"""What an experiment is: plain data and pure functions. Imports neither torch nor Qt.

An experiment's functions are written for ONE network and know nothing of seeds, sweeps, devices or files:

    init(hp, rng) -> state              state: nested dict of tensors; it is the checkpoint
    step(hp, state, batch) -> state     batch: `data` merged with what `draw` gave for this step
    data(hp, rng) -> dict of tensors    fixed for a run
    draw(hp, rng) -> dict of tensors    one step's fresh batch
    Metric.measure(hp, state, data) -> tensor

`hp` is the experiment's `Hyper`; `rng` is `engine.running.random.Rng`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields, is_dataclass
from typing import (
    TYPE_CHECKING,
    Any,
    Literal,
    SupportsFloat,
    dataclass_transform,
    get_args,
    get_origin,
    get_type_hints,
)

if TYPE_CHECKING:
    from torch import Tensor

    from engine.reducers import Reducer

    Real = float | Tensor
else:
    Real = SupportsFloat  # a float; inside a stacked step, a 0-d tensor

Scale = Literal["linear", "log"]
Value = int | float | str
KnobKind = Literal["int", "real", "choice"]
MetricKind = Literal["scalar", "modes", "profile", "spectrum", "matrix"]
Needs = Literal["hp", "drawn", "trace"]
Expectation = Literal["holds", "fails", "broken"]

# The same key means the same everywhere: label, symbol, unit, meaning.
STANDARD: dict[str, tuple[str, str, str, str]] = {
    "width": ("Width", "n", "neurons", "Neurons in each hidden layer."),
    "depth": ("Depth", "L", "layers", "Number of layers."),
    "init_scale": ("Initialisation scale", "α", "", "Scale of the weights at initialisation."),
    "lr": ("Learning rate", "η", "", "Step size of the optimiser."),
    "prompt_length": ("Prompt length", "N", "tokens", "Labelled examples in a training prompt."),
    "test_prompt_length": (
        "Test prompt length",
        "M",
        "tokens",
        "Labelled examples in a prompt at test time.",
    ),
    "d": ("Input dimension", "d", "", "Dimension of an input."),
    "n": ("Training samples", "n", "samples", "Number of training samples."),
    "noise": ("Label noise", "σ", "", "Standard deviation of the noise added to labels."),
    "batch": ("Batch size", "B", "samples", "Samples in one step of the optimiser."),
    "weight_decay": ("Weight decay", "λ", "", "Strength of the weight decay."),
    "momentum": ("Momentum", "β", "", "Momentum coefficient of the optimiser."),
    "steps": ("Steps", "T", "steps", "Steps of training in a run."),
}


def shown(value: Any) -> str:
    """A value as messages print it: `0.1`, `1e-06`, `relu`."""
    return f"{value:.6g}" if isinstance(value, float) else str(value)


@dataclass(frozen=True)
class Knob:
    """How one hyperparameter may be set. `kind` int fixes tensor shapes; real may differ within a stack."""

    name: str
    kind: KnobKind
    default: Value
    low: float = 0.0
    high: float = 0.0
    scale: Scale = "linear"
    unit: str = ""
    label: str = ""
    symbol: str = ""
    meaning: str = ""
    hot: bool = False  # may change during a run, from the next step on
    choices: tuple[str, ...] = ()

    def check(self, value: Any) -> Value:
        """The value in the knob's own type. Raises ValueError naming knob, value and what is allowed."""
        if self.kind == "choice":
            if value not in self.choices:
                raise ValueError(
                    f"{self.name} = {value} is not one of {', '.join(map(str, self.choices))}"
                )
            return str(value)
        word = "a whole number" if self.kind == "int" else "a number"
        try:
            number = float(value)
        except (TypeError, ValueError):
            raise ValueError(f"{self.name} = {value} is not {word} in {self.span}") from None
        if isinstance(value, bool) or (self.kind == "int" and number != math.floor(number)):
            raise ValueError(f"{self.name} = {value} is not {word} in {self.span}")
        if not (math.isfinite(number) and self.low <= number <= self.high):
            raise ValueError(f"{self.name} = {shown(value)} lies outside {self.span}")
        return int(number) if self.kind == "int" else number

    @property
    def span(self) -> str:
        return f"[{self.low:g}, {self.high:g}] {self.unit}".rstrip()


def hyper(
    default: Any,
    low: float = 0.0,
    high: float = 0.0,
    *,
    scale: Scale = "linear",
    unit: str = "",
    label: str = "",
    symbol: str = "",
    meaning: str = "",
    hot: bool = False,
) -> Any:
    """One knob of a `Hyper`. What a standard key leaves out comes from `STANDARD`."""
    return field(
        default=default,
        metadata=dict(
            low=low,
            high=high,
            scale=scale,
            unit=unit,
            label=label,
            symbol=symbol,
            meaning=meaning,
            hot=hot,
        ),
    )


@dataclass_transform(frozen_default=True, field_specifiers=(hyper,))
class Hyper:
    """Base of an experiment's hyperparameters: a subclass is a frozen dataclass of knobs."""

    def __init_subclass__(cls) -> None:
        dataclass(frozen=True)(cls)
        cls.knobs()  # an inconsistent declaration fails on import

    @classmethod
    def knobs(cls) -> tuple[Knob, ...]:
        if not is_dataclass(cls):
            return ()
        hints = get_type_hints(cls)
        return tuple(_knob(cls, f, hints[f.name]) for f in fields(cls))

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> Any:
        """Checked hyperparameters; what `values` leaves out keeps its default."""
        knobs = {k.name: k for k in cls.knobs()}
        if unknown := sorted(values.keys() - knobs.keys()):
            raise ValueError(f"no knob {', '.join(unknown)}; there are {', '.join(sorted(knobs))}")
        return cls(**{name: k.check(values.get(name, k.default)) for name, k in knobs.items()})


def _knob(cls: type, f: Any, hint: Any) -> Knob:
    meta = dict(f.metadata)
    if f.name == "steps":
        meta["low"] = 1  # every run may be cut short
    if not meta:
        raise TypeError(f"{cls.__qualname__}.{f.name}: declare it with hyper(default, low, high)")
    for key, text in zip(
        ("label", "symbol", "unit", "meaning"), STANDARD.get(f.name, ("",) * 4), strict=True
    ):
        meta[key] = meta[key] or text
    meta["label"] = meta["label"] or f.name.replace("_", " ").capitalize()
    if get_origin(hint) is Literal:
        knob = Knob(f.name, "choice", f.default, choices=get_args(hint), **meta)
    else:
        knob = Knob(f.name, "int" if hint is int else "real", f.default, **meta)
        if not knob.low < knob.high:
            raise ValueError(f"{f.name}: low {knob.low} is not below high {knob.high}")
        if knob.scale == "log" and knob.low <= 0:
            raise ValueError(f"{f.name}: a log scale needs low > 0, not {knob.low}")
        if knob.hot and knob.kind == "int":
            raise ValueError(f"{f.name}: an int knob fixes shapes and cannot be hot")
    if not knob.meaning:
        raise ValueError(f"{f.name}: say in a sentence what it means")
    knob.check(knob.default)
    return knob


@dataclass(frozen=True)
class Assumption:
    """A checkable predicate over hp under which a prediction or claim is made."""

    text: str  # in words and symbols: "full batch", "width ≥ 10 n"
    holds: Callable[[Any], bool]  # (hp) -> bool


@dataclass(frozen=True)
class Metric:
    """What is measured. The shape of one reading by kind:

    scalar (), modes (k,) drawn as k curves over steps, profile (m,) drawn over `coords`,
    spectrum (k,) values drawn as a histogram, matrix (p, q).
    """

    name: str
    measure: Callable[..., Any]  # (hp, state, data) -> tensor
    label: str
    symbol: str = ""
    kind: MetricKind = "scalar"
    scale: Scale = "linear"
    unit: str = ""
    every: int = 1  # of the run's recording times, use each `every`-th (and always first and last)
    coords: Callable[[Any], Any] | None = None  # profile: (hp) -> (m,) abscissae
    coords_label: str = ""
    coords_scale: Scale = "linear"
    parts: tuple[str, ...] = ()  # modes: a label for each curve


@dataclass(frozen=True)
class Prediction:
    """What theory says a metric is. `curve` by `needs`:

    hp     (hp, t) -> scalar, or (T, *shape), or *shape where it does not depend on t; numpy, t (T,) steps
    drawn  (hp, t, data, state) -> the same in torch, for one member, from what was drawn at step 0
    trace  (hp, trace) -> (T, *shape) in numpy for one member; trace[metric] is (T, *shape), trace["step"] (T,)

    A profile gives (m,), a matrix (p, q), a spectrum (2, G): grid and density.
    `against` names a swept knob: then `curve` gives the exponent of metric ∝ knob^exponent.
    """

    name: str  # its key; unique in the experiment
    metric: str
    curve: Callable[..., Any]
    label: str  # drawn at the line's end, e.g. "2/η"
    source: str
    needs: Needs = "hp"
    assumptions: tuple[Assumption, ...] = ()
    convention: str = ""  # loss factor, parametrisation, time scale
    against: str = ""


@dataclass(frozen=True)
class Claim:
    """A statement that a run decides: a reduced measurement against an expected value."""

    key: str
    text: str
    measured: Reducer  # see engine.reducers
    expected: Callable[[Any], float] | str  # (hp) -> value, or the name of a Prediction
    source: str
    rtol: float = 0.05
    atol: float = 0.0
    ulps: float = 0.0  # tolerance in units of the run's float precision (identities)
    side: Literal["==", "<=", ">="] = "=="  # bounds hold for every member, without averaging
    seeds: int = 4  # fewer leave it undecided
    noise_limit: float = (
        0.2  # undecided if two standard errors exceed this part of |expected| (or atol)
    )
    assumptions: tuple[Assumption, ...] = ()


@dataclass(frozen=True)
class Verdict:
    outcome: Literal["holds", "fails", "undecided"]
    measured: float
    expected: float
    spread: float  # standard error over seeds; the range over seeds for a bound
    why: str = ""
    broken: tuple[str, ...] = ()  # assumptions that do not hold here


@dataclass(frozen=True)
class Preset:
    """Values worth seeing. `expects` says which outcome each claim must have; unnamed ones must hold."""

    name: str
    text: str  # one sentence: what is seen here, and why it breaks where it does
    values: Mapping[str, Value] = field(default_factory=dict)
    sweep: Mapping[str, tuple[Value, ...]] | None = None  # None: the experiment's own
    seeds: int | None = None
    expects: Mapping[str, Expectation] = field(default_factory=dict)


@dataclass(frozen=True)
class Stop:
    """Ends a run before its last step and labels it: every member `above` or not finite, or all `below`."""

    metric: str
    above: float | None = None
    below: float | None = None
    label: str = ""  # "diverged", "loss floor", "gradient floor"


@dataclass(frozen=True)
class View:
    """One plot: metrics of one kind on shared axes; `against` a swept knob instead of the step."""

    metrics: tuple[str, ...]
    title: str = ""
    x_scale: Scale = "linear"
    against: str = ""


@dataclass(frozen=True)
class Formula:
    tex: str
    text: str  # what it says, in a short sentence
    symbols: Mapping[str, str] = field(default_factory=dict)  # TeX symbol -> knob


@dataclass(frozen=True)
class Reference:
    title: str
    arxiv: str  # "2306.09927", or "" with the place in the title


@dataclass(frozen=True)
class Experiment:
    """One entry of the catalogue: pure functions and plain data. Checked when it is made."""

    name: str  # area/name
    title: str
    hyper: type[Hyper]
    init: Callable[..., Any]
    metrics: tuple[Metric, ...]
    views: tuple[View, ...]  # in order of importance; the first is the signature plot
    references: Mapping[str, Reference]
    formulae: tuple[Formula, ...]
    step: Callable[..., Any] | None = None  # None: measured at initialisation only
    data: Callable[..., Any] | None = None
    draw: Callable[..., Any] | None = None
    predictions: tuple[Prediction, ...] = ()
    claims: tuple[Claim, ...] = ()
    presets: tuple[Preset, ...] = ()
    sweep: Mapping[str, tuple[Value, ...]] = field(default_factory=dict)  # swept unless set
    stops: tuple[Stop, ...] = ()
    seeds: int = 5
    record: Literal["linear", "log"] = "linear"  # spacing of recording times
    records: int = 300  # about so many recording times in a run
    dtype: Literal["float32", "float64"] = "float32"
    looped: bool = False  # control flow depends on data: members are looped over, not vmapped

    def __post_init__(self) -> None:
        check(self)

    @property
    def area(self) -> str:
        return self.name.partition("/")[0]

    def metric(self, name: str) -> Metric:
        return next(m for m in self.metrics if m.name == name)

    def claim(self, key: str) -> Claim:
        return next(c for c in self.claims if c.key == key)

    def preset(self, name: str) -> Preset:
        for p in self.presets:
            if p.name == name:
                return p
        raise ValueError(
            f"{self.name} has no preset {name}; it has {', '.join(p.name for p in self.presets)}"
        )


def check(ex: Experiment) -> None:
    """Raises ValueError for a declaration that contradicts itself."""

    def bad(what: str) -> ValueError:
        return ValueError(f"{ex.name}: {what}")

    if not re.fullmatch(r"[a-z0-9_]+/[a-z0-9_]+", ex.name):
        raise bad("the name must be area/name in lower case")
    knobs = {k.name: k for k in ex.hyper.knobs()}
    metrics = {m.name: m for m in ex.metrics}
    predictions = {p.name: p for p in ex.predictions}
    for kind, names in (
        ("metric", [m.name for m in ex.metrics]),
        ("prediction", [p.name for p in ex.predictions]),
        ("claim", [c.key for c in ex.claims]),
        ("preset", [p.name for p in ex.presets]),
    ):
        if double := {n for n in names if names.count(n) > 1}:
            raise bad(f"two of the same {kind} {sorted(double)}")
    if (ex.step is None) == ("steps" in knobs):
        raise bad("a knob `steps` belongs to an experiment that has a step, and only there")

    def known(name: str, among: Mapping[str, Any] | Sequence[str], where: str) -> None:
        if name not in among:
            raise bad(f"{where} names {name!r}; there are {', '.join(sorted(among))}")

    for p in ex.predictions:
        known(p.metric, metrics, f"prediction {p.name}")
        known(p.source, ex.references, f"prediction {p.name}")
        if p.against:
            known(p.against, knobs, f"prediction {p.name}")
    for c in ex.claims:
        known(c.source, ex.references, f"claim {c.key}")
        for m in c.measured.metrics:
            known(m, metrics, f"claim {c.key}")
        if isinstance(c.expected, str):
            known(c.expected, predictions, f"claim {c.key}")
    for s in ex.stops:
        known(s.metric, metrics, "a stop")
    for v in ex.views:
        for m in v.metrics:
            known(m, metrics, f"view {v.title or v.metrics}")
        if len({metrics[m].kind for m in v.metrics}) != 1:
            raise bad(f"view {v.metrics} mixes metrics of different kinds")
        if v.against:
            known(v.against, knobs, f"view {v.title or v.metrics}")
    for metric in ex.metrics:
        if metric.kind == "profile" and metric.coords is None:
            raise bad(f"profile {metric.name} needs coords")
    claims = [c.key for c in ex.claims]
    for preset in ex.presets:
        ex.hyper.of(preset.values)
        for key in preset.expects:
            known(key, claims, f"preset {preset.name}")
        check_sweep(ex, preset.sweep or {})
    check_sweep(ex, ex.sweep)
    for f in ex.formulae:
        for knob in f.symbols.values():
            known(knob, knobs, f"formula {f.tex}")


def check_sweep(ex: Experiment, sweep: Mapping[str, Sequence[Value]]) -> dict[str, list[Value]]:
    """The sweep with every value checked by its knob."""
    knobs = {k.name: k for k in ex.hyper.knobs()}
    for name in sweep:
        if name not in knobs:
            raise ValueError(f"no knob {name}; there are {', '.join(sorted(knobs))}")
        if not len(sweep[name]):
            raise ValueError(f"the sweep of {name} has no values")
    return {name: [knobs[name].check(v) for v in values] for name, values in sweep.items()}
