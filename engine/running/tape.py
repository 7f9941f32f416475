"""The operations that a function of tensors comes down to, written down while it runs once.

What `vmap` and `grad` finally ask of plain tensors passes a dispatch mode, one operation after the other, whatever they were
made of. (`make_fx` keeps such a list too, takes five times as long, and loads torch's compiler for it; see `dynamo`.)
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, fx
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.weak import WeakTensorKeyDictionary

DATA_DEPENDENT = {torch.Tag.data_dependent_output, torch.Tag.dynamic_output_shape}
aten = torch.ops.aten
MASKED = {aten.index.Tensor, aten.masked_select.default}
SHAPES_ONLY = {aten.is_same_size.default, aten._has_same_storage_numel.default}
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


class _Tape(TorchDispatchMode):  # type: ignore[no-untyped-call]  # torch's own hook has no types
    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.graph = fx.Graph()
        self.nodes = (
            WeakTensorKeyDictionary()
        )  # by identity: a step's results need not all live at once
        self.constants: dict[fx.Node, Tensor] = {}
        self.live: set[fx.Node] = set()  # what depends on the arguments
        # storages of what does not, and must therefore stay as it is: of what is closed over, and of what was read
        self.fixed: set[int] = set()

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
            self.fixed.add(_storage(value))
            self.constants[self.keep(value, node)] = value
        return self.nodes[value]

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func in SHAPES_ONLY:
            return func(*args, **kwargs)
        with self:  # what is made of others; as a rule it comes here in parts already
            parts = func.decompose(*args, **kwargs)
        if parts is not NotImplemented:
            return parts
        mine, named = (
            fx.node.map_aggregate(args, self.node),
            fx.node.map_aggregate(kwargs, self.node),
        )
        node = self.graph.call_function(func, mine, named)
        live = any(n in self.live for n in node.all_input_nodes)
        self.refuse(func, args, kwargs, mine, live)
        out = func(*args, **kwargs)
        if live:
            self.live.add(node)
            self.fixed |= {
                _storage(v) for v in _tensors([args, kwargs]) if self.nodes[v] not in self.live
            }
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

    def refuse(self, func: Any, args: Any, kwargs: Any, mine: Any, live: bool) -> None:
        """Raises CannotRecord for what would be another thing the next time."""
        name = str(func)
        if torch.Tag.nondeterministic_seeded in func.tags and "scaled_dot_product" not in name:
            raise CannotRecord(f"{name} draws random numbers of its own")
        if live and DATA_DEPENDENT & set(func.tags):
            deciding = mine
            if func in MASKED:  # whose shape is that of the mask
                masks = args[1] if isinstance(args[1], (list, tuple)) else [args[1]]
                deciding = [
                    self.nodes[m]
                    for m in masks
                    if m is not None and m.dtype in (torch.bool, torch.uint8)
                ]
            if any(n in self.live for n in deciding if isinstance(n, fx.Node)):
                raise CannotRecord(f"{name} decides by what a tensor holds")
        if func._schema.is_mutable:
            for v in _written(func, args, kwargs):
                if self.nodes[v] not in self.live and (live or _storage(v) in self.fixed):
                    raise CannotRecord(f"{name} writes into a constant")


def _written(func: Any, args: Any, kwargs: Any) -> list[Tensor]:
    given = dict(zip((a.name for a in func._schema.arguments), args, strict=False)) | kwargs
    writes = [a.name for a in func._schema.arguments if a.alias_info and a.alias_info.is_write]
    return _tensors([given[name] for name in writes if name in given])


def _tensors(tree: Any) -> list[Tensor]:
    return [v for v in tree_leaves(tree) if isinstance(v, Tensor)]


def _storage(tensor: Tensor) -> int:
    return int(tensor.untyped_storage()._cdata)


def _hollow(tensor: Tensor) -> Tensor:
    """Its shape, strides, type and device, without memory."""
    out = torch.empty_strided(
        tensor.shape, tensor.stride(), dtype=tensor.dtype, device=tensor.device
    )
    out.untyped_storage().resize_(0)
    return out
