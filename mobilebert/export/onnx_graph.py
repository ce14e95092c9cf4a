"""A program as an ONNX graph: matrices [n, width] all the way, one file, any batch and length.

The graph is written operation by operation instead of being traced, so that its form is the one that ONNX Runtime runs
fastest: constant 2-D products (packed once at load), fused attention. ``portable`` keeps to the standard's operators.
"""

import numpy as np
import onnx
from onnx import TensorProto, helper

from mobilebert import __version__
from mobilebert.data.collate import INPUT_NAMES
from mobilebert.export.onnx_writer import MICROSOFT, GraphWriter
from mobilebert.export.program import (
    Attention,
    FirstToken,
    LayerNorm,
    Linear,
    Output,
    Positions,
    Program,
    Scale,
    Vocabulary,
    Words,
)
from mobilebert.export.variant import Quantization
from mobilebert.inference.manifest import ONNX_OPSET

IR_VERSION = 10


def build(
    program: Program,
    *,
    portable: bool = False,
    quantization: Quantization | None = None,
    half_weights: bool = False,
) -> onnx.ModelProto:
    """Write a program as an ONNX model.

    Args:
        program: the operations and weights.
        portable: use no operator of ONNX Runtime's own.
        quantization: what is int8; needs ``portable=False``.
        half_weights: store matrices as float16 (computed in float32) where they fit its range.

    Returns:
        The model; inputs ``input_ids``, ``attention_mask``, ``token_type_ids``, int64 [batch, tokens] (multiple choice:
        [batch, choices, tokens]), outputs as the program names them.
    """
    return _Graph(program, portable, quantization or Quantization(), half_weights).write()


class _Graph(GraphWriter):
    """Writes a program, operation by operation."""

    def __init__(self, program: Program, portable: bool, quantization: Quantization, half_weights: bool):
        super().__init__(program, quantization, half_weights)
        self.portable = portable

    def write(self) -> onnx.ModelProto:
        self.inputs()
        for operation in self.program.operations:
            getattr(self, f"write_{type(operation).__name__.lower()}")(operation)
        outputs = [self.output(output) for output in self.program.outputs]
        lead = ["batch", "choices"] if self.program.choices else ["batch"]
        graph = helper.make_graph(
            self.nodes,
            "mobilebert",
            [helper.make_tensor_value_info(name, TensorProto.INT64, [*lead, "tokens"]) for name in INPUT_NAMES],
            outputs,
            [tensor for tensor in self.initializers.values() if tensor is not None],
        )
        opsets = [helper.make_opsetid("", ONNX_OPSET)]
        if not self.portable:
            opsets.append(helper.make_opsetid(MICROSOFT, 1))
        model = helper.make_model(
            graph, opset_imports=opsets, producer_name="mobilebert-paddle", producer_version=__version__
        )
        model.ir_version = IR_VERSION
        return model

    def inputs(self) -> None:
        self.names = dict(zip(INPUT_NAMES, INPUT_NAMES, strict=True))
        if self.program.choices:
            self.node("Shape", ["input_ids"], "choice_shape", end=2)
            self.node("Shape", ["input_ids"], "choice_tokens", start=2)
            self.node("Concat", [self.constant("any", [-1]), "choice_tokens"], "flat_shape", axis=0)
            for name in INPUT_NAMES:
                self.names[name] = self.node("Reshape", [name, "flat_shape"], f"{name}.flat")
        ids, mask = self.names["input_ids"], self.names["attention_mask"]
        self.node("Shape", [ids], "shape")
        self.node("Shape", [ids], "length", start=1)
        self.node("Concat", ["shape", self.constant("any", [-1])], "token_shape", axis=0)
        if not self.portable:
            self.node("Cast", [mask], "mask", to=TensorProto.INT32)
            return
        self.node("Cast", [mask], "mask.float", to=TensorProto.FLOAT)
        self.node("Sub", [self.constant("one", np.float32(1)), "mask.float"], "mask.inverse")
        self.node("Mul", ["mask.inverse", self.constant("lowest", np.finfo(np.float32).min)], "mask.bias")
        self.node("Unsqueeze", ["mask.bias", self.constant("axes12", [1, 2])], "mask")  # [B, 1, 1, S]

    def write_words(self, op: Words) -> None:
        rows = self.rows(op.table, self.names["input_ids"], f"{op.output}.words")
        width = self.program.weights[op.table].shape[1]
        if op.trigram:
            self.node("Pad", [rows, self.constant("pads", [0, 1, 0, 0, 1, 0])], f"{op.output}.padded")
            axis = self.constant("axis1", [1])
            ends = {"next": ([2], [2**31]), "previous": ([0], [-2])}
            for name, (start, end) in ends.items():
                limits = [self.constant(f"{name}.start", start), self.constant(f"{name}.end", end)]
                self.node("Slice", [f"{op.output}.padded", *limits, axis], f"{op.output}.{name}")
            neighbours = [f"{op.output}.next", rows, f"{op.output}.previous"]
            rows = self.node("Concat", neighbours, f"{op.output}.trigram", axis=2)
            width *= 3
        self.flatten(rows, width, op.output)

    def write_positions(self, op: Positions) -> None:
        start, step = self.constant("zero", np.int64(0)), self.constant("step", np.int64(1))
        self.node("Squeeze", ["length"], "length.scalar")
        self.node("Range", [start, "length.scalar", step], "position_ids")
        positions = self.rows(op.positions, "position_ids", f"{op.output}.positions")
        token_types = self.node(
            "Gather", [self.weight(op.token_types), self.names["token_type_ids"]], f"{op.output}.token_types"
        )
        self.node("Add", [token_types, positions], f"{op.output}.sum")
        self.flatten(f"{op.output}.sum", self.program.weights[op.positions].shape[1], op.output)

    def write_linear(self, op: Linear) -> None:
        self.widths[op.output] = self.program.weights[op.weight].shape[1]
        if op.input in self.per_text:
            self.per_text.add(op.output)
        steps = ["residual"] if op.residual is not None else []
        steps += [op.activation] if op.activation is not None else []
        product = f"{op.output}.product" if steps else op.output
        if op.weight in self.quantization.weights:
            if steps in ([], ["relu"]) and self.stays_uint8(op):
                self.static_product(op, op.output)  # ReLU needs no operator: the range begins at 0
                return
            is_static = op.input in self.quantization.activations
            value = (self.static_product if is_static else self.dynamic_product)(op, product)
        elif op.bias is None:
            value = self.node("MatMul", [op.input, self.weight(op.weight)], product)
        else:
            inputs = [op.input, self.weight(op.weight), self.weight(op.bias)]
            if steps == ["relu"] and not self.portable:
                self.node("FusedGemm", inputs, op.output, domain=MICROSOFT, activation="Relu")
                return
            value = self.node("Gemm", inputs, product)
        while steps:
            step = steps.pop(0)
            output = op.output if not steps else f"{op.output}.sum"
            if step == "residual":
                value = self.node("Add", [value, op.residual], output)
            else:
                value = self.activate(step, value, output)

    def activate(self, activation: str, value: str, output: str) -> str:
        if activation == "gelu":
            return self.node("Gelu", [value], output, approximate="none")
        if activation in ("gelu_new", "gelu_pytorch_tanh"):
            return self.node("Gelu", [value], output, approximate="tanh")
        if activation in ("silu", "swish"):
            return self.node("Mul", [value, self.node("Sigmoid", [value], f"{output}.sigmoid")], output)
        return self.node({"relu": "Relu", "tanh": "Tanh", "sigmoid": "Sigmoid"}[activation], [value], output)

    def write_scale(self, op: Scale) -> None:
        self.widths[op.output] = self.widths[op.input]
        if op.input in self.per_text:
            self.per_text.add(op.output)
        if op.offset is None:
            self.node("Mul", [op.input, self.weight(op.factor)], op.output)
            return
        self.node("Mul", [op.input, self.weight(op.factor)], f"{op.output}.product")
        self.node("Add", [f"{op.output}.product", self.weight(op.offset)], op.output)

    def write_layernorm(self, op: LayerNorm) -> None:
        self.widths[op.output] = self.widths[op.input]
        if op.input in self.per_text:
            self.per_text.add(op.output)
        inputs = [op.input, self.weight(op.weight), self.weight(op.bias)]
        self.node("LayerNormalization", inputs, op.output, axis=-1, epsilon=op.epsilon)

    def write_attention(self, op: Attention) -> None:
        width = self.widths[op.value]
        if op.query in self.per_text:
            self.per_text.add(op.output)
        query, key, value = (self.three_dimensional(name) for name in (op.query, op.key, op.value))
        if not self.portable:
            attributes = {"num_heads": op.num_heads, "scale": 1.0, "mask_filter_value": float(np.finfo(np.float32).min)}
            context = self.node(
                "MultiHeadAttention", [query, key, value, "", "mask"], f"{op.output}.3d", domain=MICROSOFT, **attributes
            )
        else:
            split = self.constant(f"to_heads.{op.num_heads}.{width}", [0, 0, op.num_heads, width // op.num_heads])
            orders = {query: [0, 2, 1, 3], key: [0, 2, 3, 1], value: [0, 2, 1, 3]}
            for name, order in orders.items():
                self.node("Reshape", [name, split], f"{name}.4d")
                self.node("Transpose", [f"{name}.4d"], f"{name}.heads", perm=order)
            self.node("MatMul", [f"{query}.heads", f"{key}.heads"], f"{op.output}.scores")  # [B, A, S, S]
            self.node("Add", [f"{op.output}.scores", "mask"], f"{op.output}.masked")
            self.node("Softmax", [f"{op.output}.masked"], f"{op.output}.probabilities", axis=-1)
            self.node("MatMul", [f"{op.output}.probabilities", f"{value}.heads"], f"{op.output}.heads")
            context = self.node("Transpose", [f"{op.output}.heads"], f"{op.output}.4d", perm=[0, 2, 1, 3])
        self.flatten(context, width, op.output)

    def write_firsttoken(self, op: FirstToken) -> None:
        self.node("Gather", [self.three_dimensional(op.input), self.constant("zero", np.int64(0))], op.output, axis=1)
        self.widths[op.output] = self.widths[op.input]
        self.per_text.add(op.output)

    def write_vocabulary(self, op: Vocabulary) -> None:
        embedding_size = self.program.weights[op.words].shape[1]
        rest = self.widths[op.input] - embedding_size
        sizes = self.constant(f"split.{embedding_size}.{rest}", [embedding_size, rest])
        halves = [f"{op.output}.of_words", f"{op.output}.of_dense"]
        self.node("Split", [op.input, sizes], halves, axis=1)
        self.node("Gemm", [halves[0], self.float_table(op.words), self.weight(op.bias)], f"{op.output}.sum", transB=1)
        self.node("Gemm", [halves[1], self.float_table(op.dense), f"{op.output}.sum"], op.output, transB=1)
        self.widths[op.output] = len(self.program.weights[op.words])

    def output(self, output: Output) -> onnx.ValueInfoProto:
        """Columns of a value under the name and in the shape that the user sees."""
        width = self.widths[output.value]
        value = output.value
        per_token = output.per_token and value not in self.per_text
        if (output.start, output.stop) != (0, width):
            start, stop = (
                self.constant(f"at.{output.start}", [output.start]),
                self.constant(f"at.{output.stop}", [output.stop]),
            )
            value = self.node("Slice", [value, start, stop, self.constant("axis1", [1])], f"{output.name}.columns")
        columns = output.stop - output.start
        if self.program.choices:
            self.node("Reshape", [value, "choice_shape"], output.name)
            shape = ["batch", "choices"]
        elif per_token and output.squeeze:
            self.node("Reshape", [value, "shape"], output.name)
            shape = ["batch", "tokens"]
        elif per_token:
            self.node("Reshape", [value, "token_shape"], output.name)
            shape = ["batch", "tokens", columns]
        else:
            self.node("Identity", [value], output.name)
            shape = ["batch", columns]
        return helper.make_tensor_value_info(output.name, TensorProto.FLOAT, shape)
