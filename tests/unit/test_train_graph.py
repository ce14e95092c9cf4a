"""The graph that VisualDL draws: layers, operations and tensors of the real model, connected as they compute."""

import json
import os
from itertools import pairwise

import numpy as np
import paddle
import pytest
from support.models import SIZES

from mobilebert.model.config import MobileBertConfig
from mobilebert.model.heads import HEADS
from mobilebert.train.graph import describe, trace, write_graph

BATCH = {name: np.ones((2, 7), "int64") for name in ("input_ids", "attention_mask", "token_type_ids")}


@pytest.fixture(scope="module")
def model():
    return HEADS["question-answering"](MobileBertConfig(**SIZES))


@pytest.fixture(scope="module")
def graph(model):
    return describe(trace(model, BATCH))


def by_name(values):
    return {value["name"]: value for value in values}


def test_layers_contain_their_operations(graph):
    nodes = by_name(graph["nodes"])
    # Paddle numbers the models of a process: MobileBertForQuestionAnswering_11.
    (top,) = (child for child in nodes["/"]["children_node"] if not nodes[child]["is_leaf_node"])
    assert top.startswith("/MobileBertForQuestionAnswering")
    encoder = nodes[f"{top}/MobileBertModel/MobileBertEncoder"]
    assert not encoder["is_leaf_node"] and len(encoder["children_node"]) >= 2
    assert [child for child in encoder["children_node"] if nodes[child]["type"].startswith("MobileBertLayer")]
    for node in graph["nodes"]:
        assert node["name"] == "/" or node["name"] in nodes[node["parent_node"]]["children_node"]
        assert node["is_leaf_node"] == (not node["children_node"])


def test_every_parameter_that_computes_is_there(graph, model):
    pooler = model.mobilebert.pooler if hasattr(model.mobilebert, "pooler") else None
    unused = len(list(pooler.parameters())) if pooler is not None else 0
    drawn = [tensor for tensor in graph["vars"] if tensor["persistable"]]
    assert len(drawn) == len(model.parameters()) - unused


def test_a_tensor_runs_from_its_operation_to_those_that_read_it(graph):
    nodes, edges = by_name(graph["nodes"]), {(edge["from_node"], edge["to_node"]) for edge in graph["edges"]}
    carried = [tensor for tensor in graph["vars"] if tensor["from_node"] and tensor["to_nodes"]]
    assert len(carried) > 50
    for tensor in carried:
        for target in tensor["to_nodes"]:
            assert target in nodes[tensor["from_node"]]["output_nodes"]
            assert tensor["from_node"] in nodes[target]["input_nodes"]
            assert connected(tensor["from_node"], target, edges)


def connected(source, target, edges):
    """Along edges that leave the source's layers and enter the target's."""
    common = os.path.commonpath([source, target])

    def way(path):
        steps = [path]
        while os.path.dirname(steps[-1]) != common:
            steps.append(os.path.dirname(steps[-1]))
        return steps

    path = [*way(source), *reversed(way(target))]
    return all(pair in edges for pair in pairwise(path))


def test_a_missing_edge_is_noticed(graph):
    """Negative control."""
    edges = {(edge["from_node"], edge["to_node"]) for edge in graph["edges"]}
    tensor = next(tensor for tensor in graph["vars"] if tensor["from_node"] and tensor["to_nodes"])
    source, target = tensor["from_node"], tensor["to_nodes"][0]
    assert connected(source, target, edges)
    assert not connected(source, target, {edge for edge in edges if source not in edge})


def test_shapes_and_outputs(graph):
    shapes = [tuple(tensor["shape"]) for tensor in graph["vars"]]
    assert (2, 7, SIZES["hidden_size"]) in shapes and (2, SIZES["num_attention_heads"], 7, 7) in shapes
    ends = [tensor for tensor in graph["vars"] if tensor["from_node"] and not tensor["to_nodes"]]
    assert [tensor["shape"] for tensor in ends].count([2, 7]) == 2  # start and end logits


def test_the_model_is_left_as_it_was(model, tmp_path, capfd):
    model.train()
    before = [parameter.numpy() for parameter in model.parameters()]
    paddle.seed(5)
    expected = paddle.rand([3]).tolist()
    paddle.seed(5)
    path = write_graph(model, {**BATCH, "start_positions": np.zeros(2, "int64")}, tmp_path)
    assert model.training and paddle.rand([3]).tolist() == expected  # no random number was drawn
    assert all(np.array_equal(a, b.numpy()) for a, b in zip(before, model.parameters(), strict=True))
    assert not any(layer._forward_post_hooks for layer in model.sublayers(include_self=True))
    assert json.loads(path.read_text())["version"] == "1.0.0" and path.name.startswith("vdlgraph.")
    assert capfd.readouterr() == ("", "")


def test_a_batch_of_something_else_is_not_drawn(model, tmp_path):
    assert write_graph(model, {"pixels": np.ones((1, 3))}, tmp_path) is None and not list(tmp_path.iterdir())
