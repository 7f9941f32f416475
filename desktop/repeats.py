"""Errors that come again and again, as a painting that fails at every frame: told once, then counted. No Qt."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import NamedTuple

FIRST, MOST = 1.0, 60.0  # seconds between sums of one error: doubled after each
KEPT = 200  # different errors that are remembered


@dataclass
class _Seen:
    text: str
    told: float
    wait: float = FIRST
    again: int = 0


class Sum(NamedTuple):
    text: str
    again: int  # how often since it was told last


class Repeats:
    """`first` says whether an error is to be told in full; `sums` what has come again since. From any thread."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._seen: OrderedDict[Hashable, _Seen] = OrderedDict()
        self._lock = threading.Lock()

    def first(self, key: Hashable, text: str) -> bool:
        """Counts the error. After a minute of silence it is new again."""
        now = self._clock()
        with self._lock:
            known = self._seen.get(key)
            if known is None or (not known.again and now - known.told > 2 * MOST):
                self._seen[key] = _Seen(text, now)
                self._seen.move_to_end(key)
                while len(self._seen) > KEPT:
                    self._seen.popitem(last=False)
                return True
            known.again += 1
            return False

    def sums(self) -> list[Sum]:
        """What is due to be told."""
        now, out = self._clock(), []
        with self._lock:
            for s in self._seen.values():
                if s.again and now - s.told >= s.wait:
                    out.append(Sum(s.text, s.again))
                    s.told, s.wait, s.again = now, min(2 * s.wait, MOST), 0
        return out

    def due(self) -> float | None:
        """Seconds until `sums` has something to tell; None: nothing has come again."""
        now = self._clock()
        with self._lock:
            left = [s.told + s.wait - now for s in self._seen.values() if s.again]
        return max(0.0, min(left)) if left else None
