"""A program as a LiteRT model (.tflite): matrices [S, width] of one text, any length up to the file's.

Nothing in the graph depends on S but the inputs' shapes: whoever resizes them to a text's own length saves the padding
(MediaPipe does, told so by the inputs' ``shape_signature``), whoever does not runs [1, S].

S tokens   E embedding_size   A attention heads   d head size   C classes
"""

from collections.abc import Callable, Sequence

import numpy as np

from mobilebert.export.litert_writer import GraphWriter
from mobilebert.export.program import Attention, FirstToken, LayerNorm, Linear, Output, Positions, Scale, Words
from mobilebert.export.variant import Variant
from mobilebert.inference.manifest import LITERT_INPUTS

_RELU = 1  # fused activation


def build(variant: Variant, length: int, probability: str | None, describe: Callable[[Sequence[str]], bytes]) -> bytes:
    """Write a program as a LiteRT model.

    Args:
        variant: the program and its precision.
        length: S, of the inputs as the file has them.
        probability: ``"SOFTMAX"`` or ``"LOGISTIC"`` of the logits as another output, before them; None leaves it out.
        describe: outputs' names -> the metadata.
    """
    graph = _Graph(variant, length)
    outputs = graph.write(probability)
    return graph.to_bytes(outputs, describe(outputs))


class _Graph(GraphWriter):
    """Writes a program, operation by operation."""

    def write(self, probability: str | None) -> list[str]:
        """All operations; gives the outputs' names."""
        for name in LITERT_INPUTS.values():
            self.tensor(name, (1, self.length), "int32", shape_signature=(1, -1))
        self.op("RESHAPE", ["ids", self.constant("flat", [-1])], "ids.flat", (self.length,), "int32")
        self.op("RESHAPE", ["segment_ids", "flat"], "segment_ids.flat", (self.length,), "int32")
        self.op("CAST", ["mask"], "mask.float", (1, self.length), in_data_type=2, out_data_type=0)
        self.op("SUB", [self.constant("one", np.float32(1)), "mask.float"], "mask.inverse", (1, self.length))
        lowest = self.constant("lowest", np.finfo(np.float32).min)
        self.op("MUL", ["mask.inverse", lowest], "mask.bias", (1, self.length))
        for operation in self.program.operations:
            getattr(self, f"write_{type(operation).__name__.lower()}")(operation)
        outputs = [self.output(output) for output in self.program.outputs]
        if probability is not None:
            options = {"beta": 1.0} if probability == "SOFTMAX" else {}
            self.op(probability, outputs[:1], "probability", self.shapes[outputs[0]], **options)
            outputs.insert(0, "probability")
        return outputs

    def write_words(self, op: Words) -> None:
        width = self.program.weights[op.table].shape[1]
        if not op.trigram:
            self.rows(op.table, "ids.flat", op.output)
            return
        rows = self.rows(op.table, "ids.flat", f"{op.output}.words")
        pads = self.constant("pads", np.array([[1, 1], [0, 0]], np.int32))
        padded = self.op("PAD", [rows, pads], f"{op.output}.padded", (self.length + 2, width))
        following = self.slice(padded, [2, 0], [0, 0], 3, f"{op.output}.next", (self.length, width))
        previous = self.slice(padded, [0, 0], [-2, 0], 2, f"{op.output}.previous", (self.length, width))
        self.op("CONCATENATION", [following, rows, previous], op.output, (self.length, 3 * width), axis=1)

    def write_positions(self, op: Positions) -> None:
        # 0, 1, 2, ... without asking for S: running sums of ones, which are whatever equals itself.
        shape = (self.length,)
        self.op("EQUAL", ["ids.flat", "ids.flat"], "position.same", shape, "bool")
        self.op("CAST", ["position.same"], "position.ones", shape, "int32", in_data_type=6, out_data_type=2)
        axis = self.constant("axis0", np.int32(0))
        self.op("CUMSUM", ["position.ones", axis], "position.ids", shape, "int32", exclusive=True)
        positions = self.rows(op.positions, "position.ids", f"{op.output}.positions")
        types = self.rows(op.token_types, "segment_ids.flat", f"{op.output}.token_types")
        self.op("ADD", [types, positions], op.output, self.shapes[positions])

    def write_linear(self, op: Linear) -> None:
        columns = self.program.weights[op.weight].shape[1]
        shape = (self.shapes[op.input][0], columns)
        steps = ["residual"] if op.residual is not None else []
        steps += [op.activation] if op.activation is not None else []
        fused = steps == ["relu"]
        value = op.output if fused or not steps else f"{op.output}.product"
        stored = self.variant.quantization.weights.get(op.weight)
        if stored is None:
            weight, version = self.matrix(op.weight), 1
        else:
            # One scale a column; a runtime that knows version 1 only would take the first scale for all.
            weight, version = self.int8(op.weight, np.ascontiguousarray(stored.values.T), stored), 12
        if op.bias is None:
            bias = self.constant(f"zeros.{columns}", np.zeros(columns, np.float32))
        else:
            bias = self.vector(op.bias)
        self.op(
            "FULLY_CONNECTED", [op.input, weight, bias], value, shape, version=version,
            fused_activation_function=_RELU if fused else 0, asymmetric_quantize_inputs=stored is not None,
        )  # fmt: skip
        while steps and not fused:
            step = steps.pop(0)
            output = op.output if not steps else f"{op.output}.sum"
            if step == "residual":
                fused = steps == ["relu"]
                output = op.output if fused else output
                options = {"fused_activation_function": _RELU if fused else 0}
                value = self.op("ADD", [value, op.residual], output, shape, **options)
            else:
                value = self.activate(step, value, output)

    def activate(self, activation: str, value: str, output: str) -> str:
        shape = self.shapes[value]
        if activation in ("gelu", "gelu_new", "gelu_pytorch_tanh"):
            return self.op("GELU", [value], output, shape, approximate=activation != "gelu")
        if activation in ("silu", "swish"):
            return self.op("MUL", [value, self.op("LOGISTIC", [value], f"{output}.sigmoid", shape)], output, shape)
        return self.op({"relu": "RELU", "tanh": "TANH", "sigmoid": "LOGISTIC"}[activation], [value], output, shape)

    def write_scale(self, op: Scale) -> None:
        shape = self.shapes[op.input]
        product = op.output if op.offset is None else f"{op.output}.product"
        self.op("MUL", [op.input, self.vector(op.factor)], product, shape)
        if op.offset is not None:
            self.op("ADD", [product, self.vector(op.offset)], op.output, shape)

    def write_layernorm(self, op: LayerNorm) -> None:
        shape, name = self.shapes[op.input], op.output
        column, axis = (shape[0], 1), self.constant("axis1", [1])
        self.op("MEAN", [op.input, axis], f"{name}.mean", column, keep_dims=True)
        self.op("SUB", [op.input, f"{name}.mean"], f"{name}.centred", shape)
        self.op("MUL", [f"{name}.centred", f"{name}.centred"], f"{name}.squares", shape)
        self.op("MEAN", [f"{name}.squares", axis], f"{name}.variance", column, keep_dims=True)
        epsilon = self.constant(f"epsilon.{op.epsilon}", np.float32(op.epsilon))
        self.op("ADD", [f"{name}.variance", epsilon], f"{name}.variance_up", column)
        self.op("RSQRT", [f"{name}.variance_up"], f"{name}.inverse", column)
        self.op("MUL", [f"{name}.centred", f"{name}.inverse"], f"{name}.unit", shape)
        self.op("MUL", [f"{name}.unit", self.vector(op.weight)], f"{name}.scaled", shape)
        self.op("ADD", [f"{name}.scaled", self.vector(op.bias)], name, shape)

    def write_attention(self, op: Attention) -> None:
        heads = {}
        for name in (op.query, op.key, op.value):  # [S, A * d] -> [1, A, S, d]
            rows, width = self.shapes[name]
            size = width // op.num_heads
            heads[name] = f"{name}.heads"
            if heads[name] not in self.numbers:
                self.reshape(name, [1, -1, op.num_heads, size], f"{name}.4d", (1, rows, op.num_heads, size))
                order = self.constant("to_heads", [0, 2, 1, 3])
                self.op("TRANSPOSE", [f"{name}.4d", order], heads[name], (1, op.num_heads, rows, size))
        query, key, value = (heads[name] for name in (op.query, op.key, op.value))
        rows, keys, width = self.shapes[query][2], self.shapes[key][2], self.shapes[op.value][1]
        scores = (1, op.num_heads, rows, keys)
        self.op("BATCH_MATMUL", [query, key], f"{op.output}.scores", scores, adj_x=False, adj_y=True)
        if "mask.4d" not in self.numbers:
            self.reshape("mask.bias", [1, 1, 1, -1], "mask.4d", (1, 1, 1, self.length))
        self.op("ADD", [f"{op.output}.scores", "mask.4d"], f"{op.output}.masked", scores)
        self.op("SOFTMAX", [f"{op.output}.masked"], f"{op.output}.probabilities", scores, beta=1.0)
        shape = (1, op.num_heads, rows, width // op.num_heads)
        self.op(
            "BATCH_MATMUL", [f"{op.output}.probabilities", value], f"{op.output}.heads", shape, adj_x=False, adj_y=False
        )
        order = self.constant("to_heads", [0, 2, 1, 3])
        self.op(
            "TRANSPOSE",
            [f"{op.output}.heads", order],
            f"{op.output}.4d",
            (1, rows, op.num_heads, width // op.num_heads),
        )
        self.reshape(f"{op.output}.4d", [-1, width], op.output, (rows, width))

    def write_firsttoken(self, op: FirstToken) -> None:
        self.slice(op.input, [0, 0], [1, 0], 2, op.output, (1, self.shapes[op.input][1]))

    def output(self, output: Output) -> str:
        """Columns of a value under the name and in the shape that the user sees."""
        rows, width = self.shapes[output.value]
        value, columns = output.value, output.stop - output.start
        if columns != width:
            value = self.slice(value, [0, output.start], [0, output.stop], 1, f"{output.name}.columns", (rows, columns))
        if output.squeeze:
            return self.reshape(value, [1, -1], output.name, (1, rows))
        if output.per_token:
            return self.reshape(value, [1, -1, columns], output.name, (1, rows, columns))
        return self.reshape(value, [1, columns], output.name, (1, columns))
