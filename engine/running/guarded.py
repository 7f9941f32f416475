"""A user's own experiment with its functions' results looked at, so that a wrong shape is said where it arises.

Built-in experiments are held to this by their tests; a stranger's file has had none.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from engine.running.tiers import flatten
from engine.spec import Experiment, Metric, Prediction

AXES = {"scalar": 0, "modes": 1, "profile": 1, "spectrum": 1, "matrix": 2}
DRAWN = AXES | {"spectrum": 2}  # predictions: grid and density


class Faulty(ValueError):
    """A function of a user's experiment gave what it must not; the text is one whole sentence."""


def whence(fn: Any) -> str:
    """A function's file, line and name: "mine.py, line 12, loss"."""
    fn = getattr(fn, "__wrapped__", fn)
    code = getattr(fn, "__code__", None)
    name = getattr(fn, "__name__", type(fn).__name__)
    if code is None:
        return str(name)
    return f"{os.path.basename(code.co_filename)}, line {code.co_firstlineno}, {name}"


def _tensors(value: Any, where: str) -> dict[str, Tensor]:
    """The flat entries of a nested dict of tensors. Raises Faulty."""
    if not isinstance(value, dict):
        raise Faulty(f"{where} gave a {type(value).__name__}; a dict of tensors is wanted")
    flat = flatten(value)
    for k, v in flat.items():
        if not isinstance(v, Tensor):
            raise Faulty(f"{where} gave a {type(v).__name__} for {k}; a tensor is wanted")
    if any(not isinstance(k, str) or "/" in k for k in value):
        raise Faulty(f"{where} gave a dict whose keys are not all text without a slash")
    return flat


def _looked_at(fn: Any, look: Callable[[Any, tuple[Any, ...]], None]) -> Any:
    @functools.wraps(fn)
    def wrapped(*args: Any) -> Any:
        out = fn(*args)
        look(out, args)
        return out

    return wrapped


def _dicts(fn: Any) -> Any:
    """`init`, `data`, `draw`."""
    if fn is None:
        return None
    where = whence(fn)
    return _looked_at(fn, lambda out, args: (_tensors(out, where), None)[1])


def _step(fn: Any) -> Any:
    if fn is None:
        return None
    where = whence(fn)

    def look(out: Any, args: tuple[Any, ...]) -> None:
        new, old = _tensors(out, where), flatten(args[1])
        if new.keys() != old.keys():
            odd = ", ".join(sorted(new.keys() ^ old.keys()))
            raise Faulty(f"{where} gave a state with other entries than before: {odd}")
        for k, v in new.items():
            if v.shape != old[k].shape or v.dtype != old[k].dtype:
                raise Faulty(
                    f"{where} made {k} {_form(v)}; it was {_form(old[k])} and must stay so"
                )

    return _looked_at(fn, look)


def _form(v: Tensor) -> str:
    return f"{str(v.dtype).removeprefix('torch.')} of shape {tuple(v.shape)}"


def _metric(m: Metric) -> Metric:
    where, axes = whence(m.measure), AXES[m.kind]

    def look(out: Any, args: tuple[Any, ...]) -> None:
        try:
            value = torch.as_tensor(out)
        except (TypeError, ValueError, RuntimeError):
            raise Faulty(
                f"{where} gave a {type(out).__name__} for metric {m.name}; a tensor is wanted"
            ) from None
        if value.ndim != axes or value.is_complex():
            raise Faulty(
                f"{where} gave {_form(value)} for metric {m.name}; a {m.kind} has {axes or 'no'} axes"
            )
        if m.parts and len(m.parts) != len(value):
            raise Faulty(
                f"{where} gave {len(value)} curves for metric {m.name}; its parts name {len(m.parts)}"
            )

    return replace(m, measure=_looked_at(m.measure, look))


def _prediction(p: Prediction, kind: str) -> Prediction:
    where, axes = whence(p.curve), DRAWN[kind]

    def look(out: Any, args: tuple[Any, ...]) -> None:
        if isinstance(out, Tensor):
            shape = tuple(out.shape)
        else:
            try:
                shape = np.asarray(out, float).shape
            except (TypeError, ValueError):
                raise Faulty(
                    f"{where} gave a {type(out).__name__} for prediction {p.name}; numbers are wanted"
                ) from None
        if p.against:
            if int(np.prod(shape)) != 1:
                raise Faulty(
                    f"{where} gave shape {shape} for prediction {p.name}; one exponent is wanted"
                )
            return
        t = args[1]["step"] if p.needs == "trace" else args[1]
        if len(shape) == axes + 1 and shape[0] == len(t):
            return
        if len(shape) != axes:
            raise Faulty(
                f"{where} gave shape {shape} for prediction {p.name}; at {len(t)} steps a {kind} has "
                f"({len(t)}{', …' * axes}) or {'one number' if not axes else f'{axes} axes'}"
            )

    return replace(p, curve=_looked_at(p.curve, look))


def guarded(ex: Experiment) -> Experiment:
    kinds = {m.name: m.kind for m in ex.metrics}
    return replace(
        ex,
        init=_dicts(ex.init),
        data=_dicts(ex.data),
        draw=_dicts(ex.draw),
        step=_step(ex.step),
        metrics=tuple(_metric(m) for m in ex.metrics),
        predictions=tuple(_prediction(p, kinds[p.metric]) for p in ex.predictions),
    )
