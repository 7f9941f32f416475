"""A session file: any number of runs, notes and a layout in one HDF5 file, read back as the messages that were saved.

The layout, which plain h5py can read (README.md has the table): `/runs/<n>` holds a run's attributes and its
`members`, `metrics`, `predictions`, `verdicts`, `changes`, `checkpoints`, `status`; `/cards/<n>` the experiments.
h5py is imported by `read` and `build` alone, so that a process which only passes sessions on never loads it.
"""

from __future__ import annotations

import dataclasses
import json
import os
import re
import struct
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, get_origin

import numpy as np

from engine.encoding import Malformed, decode
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
from engine.sessions.checks import conforms, fault, hints

if TYPE_CHECKING:
    from engine.sessions.tree import Group

FORMAT = "Lemmascope session"
MAJOR, MINOR = 1, 0  # a newer minor only adds; a newer major is refused


class BadSession(ValueError):
    """A file that is no session or not a sound one, in one sentence."""


@dataclass(frozen=True)
class Limits:
    """What a file may ask of its reader."""

    file: int = 512 << 20  # bytes
    total: int = (
        384 << 20
    )  # bytes of arrays: with copies on their way out they fit the loader's memory
    objects: int = 60_000  # read in about 6 s
    depth: int = 16
    name: int = 1_000  # bytes
    attributes: int = 64  # on one object
    text: int = 65_536  # bytes of an attribute
    rank: int = 8


@dataclass(frozen=True)
class Session:
    runs: list[list[Message]]
    notes: str = ""
    layout: str = ""
    cards: dict[str, Card] = field(default_factory=dict)
    version: tuple[int, int] = (MAJOR, MINOR)  # of the format
    lemmascope: str = ""  # the version that wrote it
    notice: str = ""  # what was left out, in one sentence


def build(
    path: str | os.PathLike[str],
    runs: Iterable[Iterable[Message]],
    *,
    notes: str = "",
    layout: str = "",
    cards: Mapping[str, Card] = {},
) -> None:
    """Writes a new session file. Raises FileExistsError if there is one, ValueError for messages that are no run.

    This is neither crash-safe nor safe against a full disk: `saver.save` is.
    """
    from engine.sessions.writing import image

    blob = image(runs, notes=notes, layout=layout, cards=cards)
    with open(path, "xb") as f:
        f.write(blob)


def read(path: str | os.PathLike[str], limits: Limits = Limits()) -> Session:
    """The session in a file, as messages. Raises BadSession, in one sentence, for anything else.

    libhdf5 may crash or hang on a hostile file: other people's files go through `loader.load`.
    """
    from engine.sessions.tree import read_tree, said

    sheet = _Sheet(said(os.path.basename(os.fspath(path))), said)
    return sheet.session(read_tree(path, limits, sheet.version))


def is_session(path: str | os.PathLike[str]) -> bool:
    """Whether a file says that it is a session; damage further inside is not looked for."""
    from engine.sessions.tree import read_tree

    try:
        return read_tree(path, Limits(file=1 << 62), None).attrs.get("format") == FORMAT
    except BadSession:
        return False


def quote(name: str) -> str:
    """A name as one component of an HDF5 path."""
    quoted = re.sub(r"[%/\0]", lambda m: f"%{ord(m[0]):02X}", name)
    return {"": "%", ".": "%2E"}.get(quoted, quoted)


def unquote(name: str) -> str:
    if name == "%":
        return ""
    return re.sub(r"%([0-9A-F]{2})", lambda m: chr(int(m[1], 16)), name)


def stored_as(hint: Any) -> type | None:
    """The HDF5 attribute type of a field: int, float or str; None for JSON text."""
    if get_origin(hint) is Literal:
        return str
    return {bool: int, int: int, float: float, str: str}.get(hint)


def _order(entry: Any) -> int:
    place = entry.attrs.get("order", 0)
    return place if isinstance(place, int) else 0


class _Sheet:
    """Turns the groups and arrays of a file into messages."""

    def __init__(self, name: str, said: Any) -> None:
        self.name, self.said = name, said
        self.unknown: list[str] = []

    def bad(self, where: str, what: str) -> BadSession:
        return BadSession(f"{self.name}: {self.said(where)} {what}")

    def version(self, root: Group) -> tuple[int, int, str]:
        """(major, minor, who wrote it), from the root's attributes: looked at before all else is read."""
        if root.attrs.get("format") != FORMAT:
            raise BadSession(f"{self.name}: an HDF5 file, yet no Lemmascope session")
        major, minor = root.attrs.get("major"), root.attrs.get("minor")
        writer = self.text(root, "lemmascope", "?")
        if not isinstance(major, int) or not isinstance(minor, int) or major < 1 or minor < 0:
            raise BadSession(f"{self.name}: it does not say which version of the format it has")
        if major > MAJOR:
            raise BadSession(
                f"{self.name}: written by Lemmascope {self.said(writer)} in format {major}.{minor}; "
                f"this Lemmascope reads formats up to {MAJOR}.x"
            )
        return major, minor, writer

    def session(self, root: Group) -> Session:
        major, minor, writer = self.version(root)
        self.only(root, ("runs", "cards"))
        cards = dict(self.cards(root))
        runs = [self.run(g) for g in self.numbered(root, "runs")]
        notice = ""
        if self.unknown:
            more = f" and {len(self.unknown) - 3} more" if len(self.unknown) > 3 else ""
            notice = (
                f"{self.name}: written by Lemmascope {self.said(writer)} in format {major}.{minor}; "
                f"left out what this one does not know: {', '.join(self.unknown[:3])}{more}"
            )
        return Session(
            runs,
            self.text(root, "notes", ""),
            self.text(root, "layout", ""),
            cards,
            (major, minor),
            writer,
            notice,
        )

    # --- parts ---

    def only(self, group: Group, groups: Iterable[str], arrays: Iterable[str] = ()) -> None:
        """Notes what this version does not know; it was read safely and is left out."""
        known = {*groups, "long"}
        self.unknown += [self.said(g.path) for n, g in group.groups.items() if n not in known]
        own = {*arrays}
        self.unknown += [
            self.said(f"{group.path.rstrip('/')}/{n}") for n in group.arrays if n not in own
        ]

    def numbered(self, group: Group, name: str) -> list[Group]:
        """The subgroups 1, 2, … of a part, in order."""
        part = group.groups.get(name)
        if part is None:
            return []
        for n in (*part.groups, *part.arrays):
            if not re.fullmatch(r"[1-9][0-9]{0,8}", n) or n in part.arrays:
                raise self.bad(part.path, f"holds '{self.said(n)}', which is no numbered group")
        return [part.groups[n] for n in sorted(part.groups, key=int)]

    def ordered(self, group: Group, name: str) -> list[tuple[str, Group]]:
        """(name, subgroup) of a part in the order in which they were said."""
        part = group.groups.get(name)
        if part is None:
            return []
        self.only(part, part.groups)
        return [(unquote(n), g) for n, g in sorted(part.groups.items(), key=lambda i: _order(i[1]))]

    def stacks(self, group: Group, name: str) -> list[tuple[str, int, Group]]:
        """(name, first member, group) of `<name>/<first>`, in the order in which they were said."""
        found = []
        for key, g in self.ordered(group, name):
            self.only(g, g.groups)
            found += [(key, self.number(n, s), s) for n, s in g.groups.items()]
        return sorted(found, key=lambda i: _order(i[2]))

    def number(self, name: str, group: Group) -> int:
        if not re.fullmatch(r"-?[0-9]{1,20}", name):
            raise self.bad(group.path, "should be named by a whole number")
        return int(name)

    def text(self, group: Group, key: str, default: str | None = None) -> str:
        """A text: an attribute, or where it is long an array of UTF-8 bytes."""
        raw: Any = group.attrs.get(key)
        long = group.groups.get("long")
        if raw is None and long is not None and key in long.arrays:
            array = long.arrays[key].array
            if array.dtype != np.uint8 or array.ndim != 1:
                raise self.bad(f"{long.path}/{key}", "is not a row of bytes")
            try:
                raw = array.tobytes().decode()
            except UnicodeDecodeError:
                raise self.bad(f"{long.path}/{key}", "is not UTF-8") from None
        if raw is None:
            if default is None:
                raise self.bad(group.path, f"lacks {key}")
            return default
        if isinstance(raw, str) and raw.startswith("json:"):
            raw = self.json(group, key, raw[5:])
        if not isinstance(raw, str):
            raise self.bad(group.path, f"has {key} = {self.said(str(raw))}, which should be text")
        return raw

    def json(self, group: Group, key: str, text: str) -> Any:
        try:
            return json.loads(text)
        except (ValueError, RecursionError):
            raise self.bad(group.path, f"has a {key} that is not JSON") from None

    def array(self, group: Group, key: str) -> Array:
        if key not in group.arrays:
            raise self.bad(group.path, f"lacks the array {key}")
        return group.arrays[key].array

    def message(self, cls: type, group: Group, **given: Any) -> Message:
        """A message whose other fields are the group's attributes; newer ones may have defaults."""
        for f in dataclasses.fields(cls):
            if f.name in given:
                continue
            optional = (
                f.default is not dataclasses.MISSING or f.default_factory is not dataclasses.MISSING
            )
            long = group.groups.get("long")
            there = f.name in group.attrs or (long is not None and f.name in long.arrays)
            if optional and not there:
                continue
            given[f.name] = self.value(group, f.name, hints(cls)[f.name])
        made = cls(**given)
        if what := fault(made):
            raise self.bad(group.path, what)
        return made

    def value(self, group: Group, key: str, hint: Any) -> Any:
        kind = stored_as(hint)
        if kind is str:
            return self.text(group, key)
        if kind is None:
            got = self.json(group, key, self.text(group, key))
            return tuple(got) if get_origin(hint) is tuple and isinstance(got, list) else got
        if key not in group.attrs:
            raise self.bad(group.path, f"lacks {key}")
        got = group.attrs[key]
        if kind is float and isinstance(got, int):
            got = float(got)
        if not isinstance(got, kind):
            raise self.bad(
                group.path, f"has {key} = {self.said(str(got))}, which should be {kind.__name__}"
            )
        return bool(got) if hint is bool else got

    # --- messages ---

    def cards(self, root: Group) -> Iterator[tuple[str, Card]]:
        for g in self.numbered(root, "cards"):
            name = self.text(g, "name")
            text = self.text(g, "card").encode()
            try:
                catalogue = decode(struct.pack("<I", len(text)) + text)
            except Malformed:
                catalogue = None
            if not (isinstance(catalogue, Catalogue) and conforms(catalogue.cards, tuple[Card, ...])
                    and len(catalogue.cards) == 1):  # fmt: skip
                raise self.bad(g.path, "is not the card of an experiment")
            yield name, catalogue.cards[0]

    def run(self, g: Group) -> list[Message]:
        parts = (
            "members", "metrics", "predictions", "verdicts", "changes", "checkpoints", "status",
        )  # fmt: skip
        self.only(g, parts)
        members: dict[str, Array] = {}
        if (table := g.groups.get("members")) is not None:
            self.only(table, (), table.arrays)
            ranked = sorted(table.arrays.items(), key=lambda i: _order(i[1]))
            members = {unquote(n): leaf.array for n, leaf in ranked}
        started = self.message(Started, g, members=members)
        run = started.run
        out: list[Message] = [started]
        out += [self.message(Changed, c, run=run) for c in self.numbered(g, "changes")]
        out += [self.rows(run, *found) for found in self.stacks(g, "metrics")]
        for name, first, p in self.stacks(g, "predictions"):
            self.only(p, (), ("steps", "values"))
            arrays = {k: self.array(p, k) for k in ("steps", "values")}
            out.append(self.message(Predicted, p, run=run, prediction=name, first=first, **arrays))
        out += [
            self.message(Judged, v, run=run, claim=claim)
            for claim, v in self.ordered(g, "verdicts")
        ]
        out += self.checkpoints(run, g)
        if (status := g.groups.get("status")) is not None:
            out.append(self.message(Status, status, run=run))
        return out

    def rows(self, run: str, metric: str, first: int, g: Group) -> Rows:
        self.only(g, (), ("steps", "values", "coords"))
        coords = g.arrays["coords"].array if "coords" in g.arrays else None
        steps, values = self.array(g, "steps"), self.array(g, "values")
        made: Rows = self.message(
            Rows, g, run=run, metric=metric, first=first, steps=steps, values=values, coords=coords
        )
        if (np.diff(steps) <= 0).any():
            raise self.bad(g.path, "has steps that do not increase")
        return made

    def checkpoints(self, run: str, g: Group) -> list[Message]:
        found = []
        for first, _, stack in self.stacks(g, "checkpoints"):
            ranked = sorted(_leaves(stack, ""), key=lambda i: _order(i[1]))
            arrays = {path: leaf.array for path, leaf in ranked}
            place = {"step": _step(stack), "first": self.number(first, stack)}
            found.append(self.message(Checkpoint, stack, run=run, arrays=arrays, **place))
        return found


def _step(stack: Group) -> int:
    return int(stack.path.rpartition("/")[2])


def _leaves(group: Group, prefix: str) -> Iterator[tuple[str, Any]]:
    """("params/W", leaf) of a nested group of arrays."""
    for name, leaf in group.arrays.items():
        yield prefix + unquote(name), leaf
    for name, sub in group.groups.items():
        yield from _leaves(sub, f"{prefix}{unquote(name)}/")
