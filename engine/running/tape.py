"""The operations that a function of tensors comes down to, written down while it runs once.

What `vmap` and `grad` finally ask of plain tensors passes a dispatch mode, one operation after the other, whatever they were
made of. (`make_fx` keeps such a list too; it loads torch's compiler for it, 830 modules in a second, and takes five
times as long.)
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, fx
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.weak import WeakTensorKeyDictionary

DATA_DEPENDENT = {torch.Tag.data_dependent_output, torch.Tag.dynamic_output_shape}
CONSTANT = "constant"


class CannotRecord(Exception):
    """The function does something that a list of operations cannot repeat."""


def taped(
    fn: Callable[..., Sequence[Tensor]], *examples: Tensor
) -> tuple[fx.Graph, dict[fx.Node, Tensor]]:
    """`fn`'s operations for tensors of the examples' shapes, and the tensors that it closes over.

    The graph has a placeholder for each example, a `get_attr` for each constant, and a tuple as its output. The meta
    entry "val" of what is a tensor has its shape, strides, type and device, and no contents. Raises CannotRecord where
    contents decide what is computed, and whatever `fn` raises.
    """
    tape = _Tape()
    for i, example in enumerate(examples):
        tape.live.add(tape.keep(example, tape.graph.placeholder(f"x{i}")))
    with tape:
        out = fn(*examples)
    tape.graph.output(tuple(tape.node(v) for v in out))
    return tape.graph, tape.constants


class _Tape(TorchDispatchMode):  # type: ignore[no-untyped-call]
    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.graph = fx.Graph()
        self.nodes = (
            WeakTensorKeyDictionary()
        )  # by identity: a step's results need not all live at once
        self.constants: dict[fx.Node, Tensor] = {}
        self.live: set[fx.Node] = set()  # what depends on the arguments

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # else the compiler is loaded, to be told to leave this alone

    def keep(self, tensor: Tensor, node: fx.Node) -> fx.Node:
        self.nodes[tensor] = node
        node.meta["val"] = _hollow(tensor)
        return node

    def node(self, value: Any) -> Any:
        if not isinstance(value, Tensor):
            return value
        if value not in self.nodes:
            node = self.graph.get_attr(f"{CONSTANT}{len(self.constants)}")
            self.constants[self.keep(value, node)] = value
        return self.nodes[value]

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        with self:  # what is made of others; as a rule it comes here in parts already
            parts = func.decompose(*args, **kwargs)
        if parts is not NotImplemented:
            return parts
        mine = [fx.node.map_aggregate(v, self.node) for v in args]
        named = {k: fx.node.map_aggregate(v, self.node) for k, v in kwargs.items()}
        out = func(*args, **kwargs)
        node = self.graph.call_function(func, tuple(mine), named)
        live = any(n in self.live for n in node.all_input_nodes)
        if live and _data_dependent(func, args):
            raise CannotRecord(f"{func} decides by what a tensor holds")
        if live:
            self.live.add(node)
        if isinstance(out, Tensor):
            self.keep(out, node)
        elif isinstance(out, (list, tuple)):
            for i, part in enumerate(out):
                if isinstance(part, Tensor):
                    picked = self.graph.call_function(operator.getitem, (node, i))
                    self.keep(part, picked)
                    if live:
                        self.live.add(picked)
        elif live and out is not None:
            raise CannotRecord(f"{func} makes a number of a tensor")
        return out


def _data_dependent(func: Any, args: Any) -> bool:
    if func is torch.ops.aten.index.Tensor:  # by numbers, or by a mask?
        return any(i is not None and i.dtype in (torch.bool, torch.uint8) for i in args[1])
    return bool(DATA_DEPENDENT & set(func.tags))


def _hollow(tensor: Tensor) -> Tensor:
    """Its shape, strides, type and device, without memory."""
    out = torch.empty_strided(
        tensor.shape, tensor.stride(), dtype=tensor.dtype, device=tensor.device
    )
    out.untyped_storage().resize_(0)
    return out
