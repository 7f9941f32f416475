"""torch without its compiler, which `torch.func.grad` would load at its first call: 830 modules, a second of work.

It asks `torch._dynamo` to leave autograd alone, which is what happens where that is not loaded. Whoever asks for anything
else of it (`torch.optim` in an experiment of a user's own, say) gets the real one, loaded at that moment.
"""

from __future__ import annotations

import contextlib
import importlib
import sys
from typing import Any

import torch

NAME = "torch._dynamo"


class _Autograd:
    """What compiles autograd, and does not."""

    _disable = contextlib.nullcontext

    def __getattr__(self, name: str) -> Any:
        return getattr(importlib.import_module(NAME).compiled_autograd, name)


class _Later:
    """Torch's attribute in the package's stead. The package, once imported, takes its place by itself."""

    compiled_autograd = _Autograd()

    def __getattr__(self, name: str) -> Any:
        return getattr(importlib.import_module(NAME), name)

    def __setattr__(self, name: str, value: Any) -> None:
        setattr(importlib.import_module(NAME), name, value)


def put_off() -> None:
    """From here on the compiler is loaded when something of it is used, not at the first gradient."""
    if NAME not in sys.modules:
        vars(torch)["_dynamo"] = _Later()
