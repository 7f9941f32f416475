"""Data that were drawn lately. A run, its predictions and its verdicts are of the same data; large ones take a second to draw.

Data depend on the seeds and on those knobs that an experiment's `data` looks at, which is noted while it draws: a hot
learning rate moves on, the data stay.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from engine.running.tiers import flatten

if TYPE_CHECKING:
    from engine.running.train import Member, Stack, Tree

MOST = 128 << 20  # bytes that are kept
STACKS = 16  # … of so many stacks


class _Entry(NamedTuple):
    of: tuple[Any, ...]
    ex: Any  # as long as it lives, its id is its own
    members: Sequence[Member]
    looked_at: frozenset[str]
    data: Tree
    size: int


class Kept:
    """What a process drew last: of `STACKS` stacks at most, and `most` bytes."""

    def __init__(self, most: int = MOST) -> None:
        self.most = most
        self.entries: list[_Entry] = []  # the latest last

    def data(self, stack: Stack, draw: Callable[[type], Tree]) -> Tree:
        """What `draw` gave for such a stack. It is handed a class for the hyperparameters, which notes what is read.

        Nobody may write into it.
        """
        of = (id(stack.ex.data), stack.dtype, stack.device)
        for i, entry in enumerate(self.entries):
            if entry.of == of and _alike(entry, stack.members):
                self.entries.append(self.entries.pop(i))
                return dict(entry.data)
        seen: set[str] = set()
        data = draw(noting(type(stack.hp), seen))
        names = frozenset(vars(stack.hp)) if "__dict__" in seen else frozenset(seen)
        knobs = {v.untyped_storage().data_ptr() for v in stack.knobs.values()}
        leaves = flatten(data).values()
        size = sum(v.numel() * v.element_size() for v in leaves)
        moves = any(v.untyped_storage().data_ptr() in knobs for v in leaves)  # with a hot knob
        if not moves and size <= self.most:
            self.entries.append(_Entry(of, stack.ex, stack.members, names, data, size))
            while sum(e.size for e in self.entries) > self.most or len(self.entries) > STACKS:
                del self.entries[0]
        return dict(data)


def _alike(entry: _Entry, members: Sequence[Member]) -> bool:
    return len(members) == len(entry.members) and all(
        a.seed == b.seed and all(getattr(a.hp, n) == getattr(b.hp, n) for n in entry.looked_at)
        for a, b in zip(members, entry.members, strict=True)
    )


def noting(kind: type, seen: set[str]) -> type:
    """The class, with a note in `seen` of each attribute that is read of one of its objects."""

    class Noting(kind):  # type: ignore[misc]  # the checker wants a base that it knows
        def __getattribute__(self, name: str) -> Any:
            if not name.startswith("__") or name == "__dict__":
                seen.add(name)
            return super().__getattribute__(name)

    Noting.__name__, Noting.__qualname__ = kind.__name__, kind.__qualname__
    return Noting
