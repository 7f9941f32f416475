"""Whether a message is what its declaration says: each field's type, and what its arrays must have in common.

What comes from a file or from a reading process is checked with this before anyone relies on it.
"""

from __future__ import annotations

import dataclasses
import types
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

import numpy as np

from engine.encoding import DTYPES
from engine.messages import Changed, Checkpoint, Judged, Message, Predicted, Rows, Started, Status

STREAM = (Started, Rows, Predicted, Judged, Changed, Checkpoint, Status)  # what a run may hold


_HINTS: dict[type, dict[str, Any]] = {}


def hints(cls: type) -> dict[str, Any]:
    """A message class's fields and their types."""
    if cls not in _HINTS:
        _HINTS[cls] = get_type_hints(cls)
    return _HINTS[cls]


def conforms(value: Any, hint: Any) -> bool:
    """Whether `value` has the declared type, down to the entries of its containers."""
    origin, args = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        return any(conforms(value, a) for a in args)
    if origin is Literal:
        return isinstance(value, str) and value in args
    if origin is np.ndarray:
        return isinstance(value, np.ndarray) and value.dtype.newbyteorder("<").str in DTYPES
    if origin is dict:
        return isinstance(value, dict) and all(
            conforms(k, args[0]) and conforms(v, args[1]) for k, v in value.items()
        )
    if origin in (list, tuple):
        return isinstance(value, origin) and all(conforms(v, args[0]) for v in value)
    if hint is float:
        return isinstance(value, (int, float, np.number)) and not isinstance(value, bool)
    if hint is int:
        return isinstance(value, (int, np.integer)) and not isinstance(value, bool)
    if hint is bool:
        return isinstance(value, (bool, np.bool_))
    if dataclasses.is_dataclass(hint):
        return type(value) is hint and not wrong_field(value)
    return isinstance(value, hint)


def wrong_field(value: Any) -> str:
    """The first field that is not of its declared type, or ""."""
    for name, hint in hints(type(value)).items():
        if not conforms(getattr(value, name), hint):
            return name
    return ""


def fault(message: Message) -> str:
    """What is wrong with a message of a run, as the end of a sentence; "" if nothing is."""
    if not isinstance(message, STREAM):
        return f"is a {type(message).__name__}, which is no part of a run"
    if name := wrong_field(message):
        return f"has {name} of the wrong type"
    match message:
        case Started():
            table = message.members
            if any(v.ndim != 1 for v in table.values()):
                return "has members that are not one value each"
            if len({len(v) for v in table.values()}) > 1:
                return "has columns of members of different lengths"
            if table and table.get("seed", np.zeros(0)).dtype.kind != "i":
                return "has members without a whole-number seed"
        case Rows():
            steps, values = message.steps, message.values
            if steps.ndim != 1 or steps.dtype.kind != "i":
                return "has steps that are no row of whole numbers"
            if values.ndim < 2 or len(values) != len(steps):
                return f"has readings of shape {values.shape} for {len(steps)} steps"
            if message.coords is not None and message.coords.ndim != 1:
                return "has coords that are no row"
        case Predicted():
            if message.steps.ndim != 1 or message.values.ndim < 2:
                return f"has a prediction of shape {message.values.shape}"
            if len(message.steps) != len(message.values):
                return f"has {len(message.values)} predicted values at {len(message.steps)} steps"
    return ""
