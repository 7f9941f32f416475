"""All that passes between desktop and engine: frozen, plain data, and its one binary form.

`encode` gives a JSON header and the arrays' raw bytes; pipes, journals and savers all carry that form, so nothing
is ever unpickled. Arrays are little-endian; only the dtypes of `DTYPES` pass.
"""

from __future__ import annotations

import dataclasses
import json
import struct
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
DTYPES = ("<f4", "<f8", "<i4", "<i8", "|u1", "|b1")

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
        Describe, Start, Control, Predict, Save, Open, Discard, Allow, Catalogue, Orphaned, Started, Rows, Predicted, Judged, Changed,
        Checkpoint, Status, Saved, Opened, Refused, Hello, Job, Judge, JudgedAll, Ended, Quit,
    )
}  # fmt: skip
_PARTS: dict[str, type] = {
    c.__name__: c
    for c in (
        Card, Knob, Stranger, MetricCard, PredictionCard, ClaimCard, PresetCard, ViewCard, FormulaCard, ReferenceCard,
    )
}  # fmt: skip


KEEP = -1  # among the sizes of a message's arrays: from how many bytes on they are not copied


class Malformed(ValueError):
    """Bytes that are no message."""


def _plain(value: Any, arrays: list[Array]) -> Any:
    if isinstance(value, np.ndarray):
        value = np.asarray(value, order="C")
        kind = value.dtype.newbyteorder("<").str
        if kind not in DTYPES:
            raise TypeError(f"arrays of {value.dtype} do not pass; allowed are {', '.join(DTYPES)}")
        arrays.append(value.astype(kind, copy=False))
        return {"~a": [len(arrays) - 1, kind, list(value.shape)]}
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        names = [f.name for f in dataclasses.fields(value)]
        return {"~c": type(value).__name__} | {n: _plain(getattr(value, n), arrays) for n in names}
    if isinstance(value, dict):
        return {str(k): _plain(v, arrays) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(v, arrays) for v in value]
    if isinstance(value, np.generic):
        return value.item()
    return value


def parts(message: Message) -> list[bytes | memoryview]:
    """What `encode` joins: header length (u32), JSON header, then each array's bytes in order, not copied."""
    arrays: list[Array] = []
    header = _plain(message, arrays)
    text = json.dumps(header, separators=(",", ":")).encode()
    if arrays:
        text += b" " * (-(4 + len(text)) % 8)  # numbers then begin where a processor wants them
    return [
        struct.pack("<I", len(text)),
        text,
        *(a.reshape(-1).view(np.uint8).data for a in arrays),
    ]


def encode(message: Message) -> bytes:
    """The message as bytes: header length (u32), JSON header, then each array's bytes in order."""
    return b"".join(parts(message))


def _array(spec: Any, body: memoryview, offsets: dict[int, int], sizes: dict[int, int]) -> Array:
    index, kind, shape = spec
    count = int(np.prod(shape)) if shape else 1
    found = np.frombuffer(body, dtype=kind, count=count, offset=offsets[index]).reshape(shape)
    stays = 0 < sizes[KEEP] <= found.nbytes and found.flags.aligned
    return found if stays else found.copy()


def _live(value: Any, body: memoryview, offsets: dict[int, int], sizes: dict[int, int]) -> Any:
    if isinstance(value, dict):
        if "~a" in value:
            return _array(value["~a"], body, offsets, sizes)
        if "~c" in value:
            return _build(value, body, offsets, sizes)
        return {k: _live(v, body, offsets, sizes) for k, v in value.items()}
    if isinstance(value, list):
        return [_live(v, body, offsets, sizes) for v in value]
    return value


def _build(value: dict[str, Any], body: memoryview, offsets: Any, sizes: Any) -> Any:
    cls = KINDS.get(value["~c"]) or _PARTS[value["~c"]]
    out = {}
    for f in dataclasses.fields(cls):
        if f.name in value:
            got = _live(value[f.name], body, offsets, sizes)
            out[f.name] = tuple(got) if isinstance(got, list) and "tuple" in str(f.type) else got
    return cls(**out)


def _sizes(value: Any, out: dict[int, int]) -> None:
    if isinstance(value, dict):
        if "~a" in value:
            index, kind, shape = value["~a"]
            if kind not in DTYPES or any(not isinstance(n, int) or n < 0 for n in shape):
                raise Malformed(f"array of {kind} {shape}")
            out[index] = (
                int(np.prod([int(n) for n in shape], dtype=object)) * np.dtype(kind).itemsize
            )
            return
        for v in value.values():
            _sizes(v, out)
    elif isinstance(value, list):
        for v in value:
            _sizes(v, out)


def decode(blob: bytes | bytearray | memoryview, keep: int = 0) -> Message:
    """The message that `encode` wrote. Raises Malformed, never anything else.

    Arrays are copies, but for those of `keep` bytes and more, unless that is 0: they stay in `blob`, not to be written.
    """
    view = memoryview(blob)
    try:
        (length,) = struct.unpack("<I", view[:4])
        header = json.loads(bytes(view[4 : 4 + length]))
        body = view[4 + length :]
        sizes: dict[int, int] = {}
        _sizes(header, sizes)
        offsets, at = {}, 0
        for i in range(len(sizes)):
            offsets[i] = at
            at += sizes[i]
        if at != len(body):
            raise Malformed(f"{len(body)} bytes of arrays where {at} were announced")
        sizes[KEEP] = keep
        return _build(header, body, offsets, sizes)
    except Malformed:
        raise
    except Exception as e:
        raise Malformed(f"no message: {type(e).__name__}: {e}") from e
