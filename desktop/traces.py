"""Readings as they arrive: growable columns that take rows in any order. No Qt."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np

from engine.messages import Rows

Array = np.ndarray[Any, Any]
LONG = 1000  # rows in one piece, as from a file, which are kept where they are
_stamps = itertools.count()


class Growable:
    """An array that grows along its first axis; appending costs amortised constant time a row."""

    def __init__(self, shape: tuple[int, ...], dtype: Any) -> None:
        self._held = np.empty((64, *shape), dtype)
        self._count = 0

    def __len__(self) -> int:
        return self._count

    @property
    def array(self) -> Array:
        """A view of what is there; rows once written change only when a step is read again."""
        return self._held[: self._count]

    def append(self, rows: Array) -> None:
        need = self._count + len(rows)
        if need > len(self._held):
            room = np.empty(
                (max(need, 2 * len(self._held)), *self._held.shape[1:]), self._held.dtype
            )
            room[: self._count] = self.array
            self._held = room
        self._held[self._count : need] = rows
        self._count = need

    def replace(self, rows: Array) -> None:
        """Takes the array itself: what is appended later goes elsewhere."""
        self._held, self._count = rows, len(rows)


class Column:
    """One metric of one stack: steps (T,) increasing, values (T, members, *shape).

    While `stamp` stays, rows are only added at the end: whoever has seen the others need not look again.
    """

    def __init__(self, rows: Rows) -> None:
        self._steps = Growable((), np.int64)
        self._values = Growable(rows.values.shape[1:], rows.values.dtype)
        self.coords: Array | None = None
        self.stamp = next(_stamps)
        self.add(rows)

    @property
    def steps(self) -> Array:
        return self._steps.array

    @property
    def values(self) -> Array:
        return self._values.array

    def cut(self, step: int) -> None:
        """Nothing behind this step counts any more."""
        keep = int(np.searchsorted(self.steps, step, side="right"))
        if keep < len(self.steps):
            self._steps.replace(self.steps[:keep].copy())
            self._values.replace(self.values[:keep].copy())
            self.stamp = next(_stamps)

    def add(self, rows: Rows) -> None:
        """Takes rows in any order; a step that was there takes its newer reading. Raises ValueError for another shape."""
        if rows.values.shape[1:] != self._values.array.shape[1:] or len(rows.steps) != len(
            rows.values
        ):
            raise ValueError(
                f"readings of {rows.metric} of shape {rows.values.shape} do not continue {self.values.shape}"
            )
        if rows.coords is not None:
            self.coords = rows.coords
        if not len(rows.steps):
            return
        ordered = len(rows.steps) == 1 or bool((np.diff(rows.steps) > 0).all())
        if ordered and not len(self._steps) and len(rows.steps) > LONG:
            self._steps.replace(np.asarray(rows.steps, np.int64))
            self._values.replace(rows.values)
            return
        if ordered and (not len(self._steps) or rows.steps[0] > self.steps[-1]):
            self._steps.append(rows.steps)
            self._values.append(rows.values)
            return
        steps = np.concatenate([self.steps, rows.steps])
        values = np.concatenate([self.values, rows.values])
        _, last = np.unique(steps[::-1], return_index=True)
        keep = len(steps) - 1 - last
        self._steps.replace(steps[keep])
        self._values.replace(values[keep])
        self.stamp = next(_stamps)
