"""The bytes of a session file, built in memory, so that no disk error ever reaches libhdf5.

HDF5's v110 format checksums its own structures; each array carries the SHA-256 of its bytes. Nothing has variable
length, nothing is compressed (on noisy readings it saves a sixth, and it is what makes small files ask for much
memory), and no times are stored: the same messages give the same bytes.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from h5py import h5a, h5d, h5f, h5g, h5p, h5s, h5t

from engine.encoding import DTYPES, encode
from engine.messages import (
    Array,
    Card,
    Catalogue,
    Changed,
    Checkpoint,
    Judged,
    Message,
    Predicted,
    Rows,
    Started,
    Status,
)
from engine.sessions.checks import fault, hints
from engine.sessions.session import FORMAT, MAJOR, MINOR, quote, stored_as
from engine.version import VERSION

TYPES = {
    "<f4": h5t.IEEE_F32LE,
    "<f8": h5t.IEEE_F64LE,
    "<i4": h5t.STD_I32LE,
    "<i8": h5t.STD_I64LE,
    "|u1": h5t.STD_U8LE,
    "|b1": h5t.STD_U8LE,
}
BOUNDS = (h5f.LIBVER_V110, h5f.LIBVER_V110)  # checksummed structures, and HDF5 1.10 reads them
STEP = 1 << 20  # bytes by which the file in memory grows, at least
LONG = 16_000  # bytes from which on a text is an array, not an attribute


@dataclass
class Stream:
    """A run's messages, shortened: readings joined, and of what was said twice the last."""

    started: Started
    changes: list[Changed] = field(default_factory=list)
    rows: dict[tuple[str, int], list[Rows]] = field(default_factory=dict)
    predicted: dict[tuple[str, int], Predicted] = field(default_factory=dict)
    judged: dict[str, Judged] = field(default_factory=dict)
    checkpoints: dict[tuple[int, int], Checkpoint] = field(default_factory=dict)
    status: Status | None = None

    @classmethod
    def of(cls, messages: Iterable[Message]) -> Stream:
        """Raises ValueError for what is no run: a sentence."""
        found: Stream | None = None
        for m in messages:
            if what := fault(m):
                raise ValueError(f"{type(m).__name__} of run {getattr(m, 'run', '?')} {what}")
            if isinstance(m, Started):
                if found is not None:
                    raise ValueError(f"run {found.started.run} begins twice")
                found = cls(m)
            elif found is None:
                raise ValueError("a run without its beginning")
            elif m.run != found.started.run:
                raise ValueError(f"{type(m).__name__} of run {m.run} in run {found.started.run}")
            else:
                found.take(m)
        if found is None:
            raise ValueError("a run without its beginning")
        return found

    def joined(self) -> Stream:
        """With one Rows for each metric and stack, so that they are joined once. Raises ValueError."""
        return replace(self, rows={k: [join(parts)] for k, parts in self.rows.items()})

    def take(self, m: Message) -> None:
        match m:
            case Changed():
                self.changes.append(m)
            case Rows():
                self.rows.setdefault((m.metric, m.first), []).append(m)
            case Predicted():
                self.predicted[(m.prediction, m.first)] = m
            case Judged():
                self.judged[m.claim] = m
            case Checkpoint():
                self.checkpoints[(m.first, m.step)] = m
            case Status():
                self.status = m

    def messages(self) -> list[Message]:
        """What reading the file gives."""
        out: list[Message] = [self.started, *self.changes]
        out += [join(parts) for parts in self.rows.values()]
        out += [*self.predicted.values(), *self.judged.values(), *self.checkpoints.values()]
        return out + ([self.status] if self.status is not None else [])


def join(parts: list[Rows]) -> Rows:
    """One metric's rows as one: steps increasing, of a step that was read twice the later reading."""
    one = parts[0]
    for p in parts[1:]:
        if p.values.shape[1:] != one.values.shape[1:] or p.values.dtype != one.values.dtype:
            raise ValueError(
                f"{one.metric} of run {one.run} has readings of {p.values.dtype} {p.values.shape[1:]} "
                f"after {one.values.dtype} {one.values.shape[1:]}"
            )
    coords = next((p.coords for p in reversed(parts) if p.coords is not None), None)
    steps, values = one.steps, one.values
    if len(parts) > 1:
        steps = np.concatenate([p.steps for p in parts])
        values = np.concatenate([p.values for p in parts])
    if (np.diff(steps) <= 0).any():
        _, last = np.unique(steps[::-1], return_index=True)
        keep = len(steps) - 1 - last
        steps, values = steps[keep], values[keep]
    return replace(one, steps=steps, values=values, coords=coords)


def image(
    runs: Iterable[Iterable[Message] | Stream],
    *,
    notes: str = "",
    layout: str = "",
    cards: Mapping[str, Card] = {},
) -> bytes:
    """A session file as bytes. Raises ValueError, in one sentence, for messages that are no run."""
    access = h5p.create(h5p.FILE_ACCESS)
    streams = [run if isinstance(run, Stream) else Stream.of(run) for run in runs]
    access.set_fapl_core(max(STEP, sum(map(_weight, streams))), False)  # one piece of memory
    access.set_libver_bounds(*BOUNDS)
    made = h5p.create(h5p.FILE_CREATE)
    made.set_attr_phase_change(64, 0)
    made.set_obj_track_times(False)
    fid = h5f.create(uuid.uuid4().hex.encode(), h5f.ACC_TRUNC, made, access)
    try:
        _Writer().session(h5g.open(fid, b"/"), streams, notes, layout, cards)
        h5f.flush(fid)
        return fid.get_file_image()  # type: ignore[no-any-return]
    finally:
        fid.close()


def _weight(run: Stream) -> int:
    """Bytes of a run's readings."""
    return sum(r.values.nbytes + r.steps.nbytes for rows in run.rows.values() for r in rows)


class _Writer:
    def __init__(self) -> None:
        self.scalar = h5s.create(h5s.SCALAR)
        self.of_group = h5p.create(h5p.GROUP_CREATE)
        self.of_array = h5p.create(h5p.DATASET_CREATE)
        self.of_array.set_layout(h5d.CONTIGUOUS)
        self.of_array.set_alloc_time(h5d.ALLOC_TIME_EARLY)
        self.of_array.set_fill_time(h5d.FILL_TIME_NEVER)
        for made in (self.of_group, self.of_array):
            made.set_attr_phase_change(64, 0)  # attributes stay in the checksummed object header
            made.set_obj_track_times(False)

    # --- parts ---

    def group(self, parent: h5g.GroupID, name: str) -> h5g.GroupID:
        return h5g.create(parent, name.encode(), gcpl=self.of_group)

    def number(self, obj: Any, name: str, value: int | float, kind: str) -> None:
        try:
            stored = np.array(value, kind)
        except OverflowError:
            raise ValueError(f"{name} = {value} does not fit into 64 bits") from None
        h5a.create(obj, name.encode(), TYPES[kind], self.scalar).write(stored)

    def short(self, obj: Any, name: str, raw: bytes) -> None:
        kind = h5t.C_S1.copy()
        kind.set_size(max(1, len(raw)))
        kind.set_cset(h5t.CSET_UTF8)
        kind.set_strpad(h5t.STR_NULLPAD)
        h5a.create(obj, name.encode(), kind, self.scalar).write(np.array(raw, np.bytes_), kind)

    def text(self, group: h5g.GroupID, name: str, text: str) -> None:
        """UTF-8 of fixed length. What that cannot hold (NUL, lone surrogates) is marked and escaped."""
        try:
            raw = text.encode()
        except UnicodeEncodeError:
            raw = b"\0"
        if b"\0" in raw or text.startswith("json:"):
            raw = b"json:" + json.dumps(text).encode()
        if len(raw) <= LONG:
            self.short(group, name, raw)
            return
        if b"long" not in group:
            self.group(group, "long")
        self.array(h5g.open(group, b"long"), name, np.frombuffer(raw, np.uint8))

    def array(self, parent: h5g.GroupID, name: str, array: Array, order: int = -1) -> None:
        kind = array.dtype.newbyteorder("<").str
        if kind not in DTYPES:
            raise ValueError(f"{name} is an array of {array.dtype}; {', '.join(DTYPES)} pass")
        shape = array.shape
        array = np.ascontiguousarray(array, kind).reshape(shape)
        if kind == "|b1":
            array = array.view("|u1")
        space = h5s.create_simple(shape) if shape else self.scalar
        dset = h5d.create(parent, name.encode(), TYPES[kind], space, self.of_array)
        if array.size:
            dset.write(h5s.ALL, h5s.ALL, array)
        raw = array.reshape(-1).view(np.uint8).data  # not a copy of it
        self.short(dset, "sha256", hashlib.sha256(raw).hexdigest().encode())
        if kind == "|b1":
            self.short(dset, "kind", b"bool")
        if order >= 0:
            self.number(dset, "order", order, "<i8")

    def fields(self, group: h5g.GroupID, message: Message, *elsewhere: str) -> None:
        """The message's fields as attributes, but for those that are stored elsewhere."""
        for f in dataclasses.fields(message):
            if f.name in elsewhere:
                continue
            value, kind = getattr(message, f.name), stored_as(hints(type(message))[f.name])
            if kind in (int, float):
                self.number(group, f.name, value, "<i8" if kind is int else "<f8")
            elif kind is str:
                self.text(group, f.name, value)
            else:
                plain = json.dumps(value, ensure_ascii=False, default=lambda o: o.item())
                self.text(group, f.name, plain)

    # --- the session ---

    def session(
        self,
        root: h5g.GroupID,
        runs: Iterable[Stream],
        notes: str,
        layout: str,
        cards: Mapping[str, Card],
    ) -> None:
        self.text(root, "format", FORMAT)
        self.number(root, "major", MAJOR, "<i8")
        self.number(root, "minor", MINOR, "<i8")
        self.text(root, "lemmascope", VERSION)
        self.text(root, "notes", notes)
        self.text(root, "layout", layout)
        part = self.group(root, "runs")
        for n, run in enumerate(runs, 1):
            self.run(self.group(part, str(n)), run)
        part = self.group(root, "cards")
        for n, (name, card) in enumerate(cards.items(), 1):
            g = self.group(part, str(n))
            self.text(g, "name", name)
            self.text(g, "card", encode(Catalogue((card,), ()))[4:].decode())

    def run(self, g: h5g.GroupID, run: Stream) -> None:
        self.fields(g, run.started, "members")
        table = self.group(g, "members")
        for i, (name, column) in enumerate(run.started.members.items()):
            self.array(table, quote(name), column, i)
        part = self.group(g, "changes")
        for n, change in enumerate(run.changes, 1):
            self.fields(self.group(part, str(n)), change, "run")
        part = self.group(g, "metrics")
        for i, ((metric, first), parts) in enumerate(run.rows.items()):
            rows = join(parts)
            stack = self.stack(part, metric, first, i)
            self.array(stack, "steps", rows.steps)
            self.array(stack, "values", rows.values)
            if rows.coords is not None:
                self.array(stack, "coords", rows.coords)
        part = self.group(g, "predictions")
        for i, ((name, first), p) in enumerate(run.predicted.items()):
            stack = self.stack(part, name, first, i)
            self.array(stack, "steps", p.steps)
            self.array(stack, "values", p.values)
            self.fields(stack, p, "run", "prediction", "first", "steps", "values")
        part = self.group(g, "verdicts")
        for i, (claim, judged) in enumerate(run.judged.items()):
            verdict = self.group(part, quote(claim))
            self.number(verdict, "order", i, "<i8")
            self.fields(verdict, judged, "run", "claim")
        part = self.group(g, "checkpoints")
        for i, ((first, step), checkpoint) in enumerate(run.checkpoints.items()):
            self.tree(self.stack(part, str(first), step, i), checkpoint.arrays)
        if run.status is not None:
            self.fields(self.group(g, "status"), run.status, "run")

    def stack(self, part: h5g.GroupID, name: str, first: int, order: int) -> h5g.GroupID:
        """The new group `<name>/<first>`; `order` is its place in the stream."""
        raw = quote(name).encode()
        above = h5g.open(part, raw) if raw in part else self.group(part, quote(name))
        out = self.group(above, str(first))
        self.number(out, "order", order, "<i8")
        return out

    def tree(self, top: h5g.GroupID, arrays: Mapping[str, Array]) -> None:
        """Nested groups of arrays; their order is kept, since sums over them depend on it."""
        for i, (path, array) in enumerate(arrays.items()):
            *parents, name = map(quote, path.split("/"))
            group = top
            try:
                for p in parents:
                    raw = p.encode()
                    group = h5g.open(group, raw) if raw in group else self.group(group, p)
            except (KeyError, ValueError) as e:
                raise ValueError(f"checkpoint: {path} and a part of it both name arrays") from e
            if name.encode() in group:
                raise ValueError(f"checkpoint: {path} names an array and a group")
            self.array(group, name, array, i)
