"""The model's graph for VisualDL: which layer contains which, and how tensors run between them.

VisualDL's own ``LogWriter.add_graph`` (2.5.3) reads a ``.pdmodel`` file, which Paddle 3 no longer writes, and the old
programs that it wants no longer accept ``paddle.matmul``. So the model is traced here into one of Paddle's new
programs, whose operations carry the name of their layer, and written in the form that VisualDL's page reads.
"""

import json
import os
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import paddle

from mobilebert.base import extras, noise
from mobilebert.base.files import write_text

FORMAT = "1.0.0"  # of the file, as VisualDL 2.5 checks it
INPUTS = ("input_ids", "attention_mask", "token_type_ids")  # of a batch; labels are looked at, which a trace cannot do
_NOISE = b"not support input out tensor"  # of Paddle's softmax, whenever it is traced; it means nothing
_CONSTANTS = ("builtin.", "pd_op.full", "pd_op.shadow_output")  # parameters, shapes, results: tensors, no nodes


class _Traced(paddle.nn.Layer):
    """A model as a function of a dictionary of tensors that returns a list."""

    def __init__(self, model: paddle.nn.Layer):
        super().__init__()
        self.model = model

    def forward(self, batch):
        output = self.model(**batch)
        return [value for value in output.to_tuple() if value is not None]


def write_graph(model: paddle.nn.Layer, batch: Mapping[str, np.ndarray], folder: Path) -> Path | None:
    """Draw the model into VisualDL's log folder.

    Args:
        model: traced in eval mode, so without dropout; left as it was.
        batch: arrays whose shapes and types the graph shows; only ``INPUTS`` are used.
        folder: where VisualDL looks.

    Returns:
        The file; none where the batch has none of ``INPUTS``.
    """
    inputs = {name: batch[name] for name in INPUTS if name in batch}
    if not inputs:
        return None
    path = folder / f"vdlgraph.{int(time.time()):010d}.log"
    write_text(path, json.dumps(describe(trace(model, inputs))))
    return path


def trace(model: paddle.nn.Layer, inputs: Mapping[str, np.ndarray]) -> Any:
    """The program of ``model(**inputs)`` in eval mode."""
    # Run as written: no translation of Python's control flow, and no fast path, which layers with hooks do not take.
    layers = model.sublayers(include_self=True)
    modules = {type(layer).__module__ for layer in layers} | {__name__}
    paddle.jit.ignore_module([sys.modules[name] for name in modules if not name.startswith("paddle.")])
    hooks = [layer.register_forward_post_hook(lambda *_: None) for layer in layers]
    was_training = model.training
    model.eval()
    try:
        specs = {name: paddle.static.InputSpec(array.shape, str(array.dtype), name) for name, array in inputs.items()}
        traced = _Traced(model)
        traced.eval()
        traced = paddle.jit.to_static(traced, [specs], full_graph=True)
        with noise.without(lambda line: _NOISE in line), extras.own_home():
            return traced.forward.concrete_program.main_program
    finally:
        for hook in hooks:
            hook.remove()
        if was_training:
            model.train()


def describe(program: Any) -> dict[str, Any]:
    """A program's nodes (operations, and the layers around them), tensors and edges, as VisualDL's page wants them."""
    nodes: dict[str, dict] = {}
    tensors: dict[str, dict] = {}
    names: dict[int, str] = {}  # tensor's id -> its name
    counts: Counter = Counter()
    for operation in program.global_block().ops:
        kind = operation.name().split(".")[-1]
        is_constant = operation.name().startswith(_CONSTANTS)
        path = ""
        if not is_constant:
            scope = operation.attrs().get("struct_name", "").rstrip("/")
            path = f"{scope}/{kind}_{counts[scope, kind]}"
            counts[scope, kind] += 1
            nodes[path] = _node(path, kind, is_leaf=True)
        for position, source in enumerate(operation.operands_source()):
            name = names.get(source.id) if source.initialized() else None
            if path and name:
                nodes[path]["input_vars"][f"X{position}"] = [name]
                tensors[name]["to_nodes"].append(path)
        for position, result in enumerate(operation.results()):
            name = names[result.id] = f"{kind}_{len(tensors)}"
            tensors[name] = _tensor(name, result, path, operation.name() == "builtin.parameter")
            if path:
                nodes[path]["output_vars"][f"Y{position}"] = [name]
    edges = _edges(nodes, tensors)
    return {"version": FORMAT, "nodes": list(nodes.values()), "vars": list(tensors.values()), "edges": edges}


def _node(path: str, kind: str, is_leaf: bool) -> dict[str, Any]:
    lists = ("children_node", "input_nodes", "output_nodes", "edge_input_nodes", "edge_output_nodes")
    return {
        "name": path, "show_name": path, "type": kind, "is_leaf_node": is_leaf, "parent_node": "",
        "attrs": {}, "attr_types": {}, "input_vars": {}, "output_vars": {}, **{name: [] for name in lists},
    }  # fmt: skip


def _tensor(name: str, value: Any, path: str, is_parameter: bool) -> dict[str, Any]:
    is_tensor = value.is_dense_tensor_type()  # else a list of tensors, on its way to a concatenation
    shape, dtype = (list(value.shape), str(value.dtype)) if is_tensor else ([], "")
    return {
        "name": name, "shape": shape, "type": "LOD_TENSOR", "dtype": dtype, "value": [],
        "persistable": is_parameter, "attrs": {}, "from_node": path, "to_nodes": [],
    }  # fmt: skip


def _edges(nodes: dict[str, dict], tensors: dict[str, dict]) -> list[dict]:
    """Add the layers around the operations to ``nodes`` and connect: edges join neighbours, or a parent."""
    for path in list(nodes):
        while path != "/":
            parent = os.path.dirname(path)
            nodes.setdefault(parent, _node(parent, os.path.basename(parent) or "/", is_leaf=False))
            nodes[path]["parent_node"] = parent
            if path not in nodes[parent]["children_node"]:
                nodes[parent]["children_node"].append(path)
            path = parent
    carried: dict[tuple[str, str], list[str]] = defaultdict(list)
    for tensor in tensors.values():
        source = tensor["from_node"]
        for target in tensor["to_nodes"] if source else ():
            _append(nodes[source]["output_nodes"], target)
            _append(nodes[target]["input_nodes"], source)
            for layer, inside, outside in ((source, "output", target), (target, "input", source)):
                while (layer := os.path.dirname(layer)) != "/" and not outside.startswith(f"{layer}/"):
                    _append(nodes[layer][f"{inside}_nodes"], outside)
                    _append(nodes[layer][f"{inside}_vars"].setdefault(inside, []), tensor["name"])
            for edge in _steps(source, target):
                _append(carried[edge], tensor["name"])
    edges = []
    for (start, end), names in carried.items():
        _append(nodes[start]["edge_output_nodes"], end)
        _append(nodes[end]["edge_input_nodes"], start)
        label = str(tensors[names[0]]["shape"]) if len(names) == 1 else f"{len(names)} tensors"
        edges.append({"from_node": start, "to_node": end, "vars": names, "label": label})
    return edges


def _steps(source: str, target: str) -> Iterator[tuple[str, str]]:
    """From an operation out of its layers, across, and into the layers of another."""
    common = os.path.commonpath([source, target])
    while os.path.dirname(source) != common:
        yield source, os.path.dirname(source)
        source = os.path.dirname(source)
    inwards = []
    while os.path.dirname(target) != common:
        inwards.append((os.path.dirname(target), target))
        target = os.path.dirname(target)
    yield source, target
    yield from reversed(inwards)


def _append(values: list[str], value: str) -> None:
    if value not in values:
        values.append(value)
