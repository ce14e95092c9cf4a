"""What an ONNX graph is written with: nodes, constants, weights in float32, float16 or int8, and products of int8."""

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from mobilebert.export.program import Linear, Program
from mobilebert.export.variant import Quantization

MICROSOFT = "com.microsoft"


class GraphWriter:
    """The nodes and initializers of a graph that is being written.

    Args:
        program: what the graph computes.
        quantization: what is int8 in it.
        half_weights: store matrices as float16 where they fit its range.
    """

    def __init__(self, program: Program, quantization: Quantization, half_weights: bool):
        self.program = program
        self.quantization = quantization
        self.half_weights = half_weights
        self.nodes: list[onnx.NodeProto] = []
        self.initializers: dict[str, onnx.TensorProto | None] = {}
        self.widths: dict[str, int] = {}  # value -> columns
        self.per_text: set[str] = set()  # values with one row a text
        self.readers = program.consumers()
        self.quantized: dict[str, tuple[str, str, str]] = {}  # value -> its uint8 form, scale, zero point

    def node(self, op_type: str, inputs: list[str], output: str | list[str], domain: str = "", **attributes) -> str:
        """Append a node, named as its first output; gives that name."""
        outputs = [output] if isinstance(output, str) else output
        self.nodes.append(helper.make_node(op_type, inputs, outputs, name=outputs[0], domain=domain, **attributes))
        return outputs[0]

    def constant(self, name: str, value: np.ndarray | list[int] | float) -> str:
        """Keep a constant, once; a list is int64. Gives its name."""
        if name not in self.initializers:
            if isinstance(value, list):
                value = np.array(value, np.int64)
            self.initializers[name] = numpy_helper.from_array(np.array(value, order="C"), name)
        return name

    def weight(self, name: str) -> str:
        """A float weight of the program."""
        value = self.program.weights[name]
        if not (self.half_weights and value.ndim == 2 and np.abs(value).max() < np.finfo(np.float16).max):
            return self.constant(name, value.astype(np.float32))
        if name not in self.initializers:
            stored = self.constant(f"{name}.half", value.astype(np.float16))
            self.node("Cast", [stored], name, to=TensorProto.FLOAT)
            self.initializers[name] = None  # marks the name as taken; left out of the graph
        return name

    def rows(self, table: str, ids: str, output: str) -> str:
        """Rows of an embedding table, int8 or float: [B, S] -> [B, S, width]."""
        if table not in self.quantization.tables:
            return self.node("Gather", [self.weight(table), ids], output)
        quantized = self.quantization.tables[table]
        values = self.constant(f"{table}.int8", quantized.values)
        scale = self.constant(f"{table}.scale", quantized.scale[:, None].astype(np.float32))
        self.node("Gather", [values, ids], f"{output}.int8")
        self.node("Cast", [f"{output}.int8"], f"{output}.unscaled", to=TensorProto.FLOAT)
        self.node("Gather", [scale, ids], f"{output}.scale")
        return self.node("Mul", [f"{output}.unscaled", f"{output}.scale"], output)

    def flatten(self, value: str, width: int, output: str) -> str:
        """[B, S, width] -> [n, width]."""
        self.widths[output] = width
        return self.node("Reshape", [value, self.constant(f"to_rows.{width}", [-1, width])], output)

    def three_dimensional(self, value: str) -> str:
        """[n, width] -> [B, S, width], or [B, width] -> [B, 1, width]."""
        if value in self.per_text:
            shape = self.constant(f"to_texts.{self.widths[value]}", [-1, 1, self.widths[value]])
        else:
            shape = "token_shape"
        return self.node("Reshape", [value, shape], f"{value}.3d")

    def float_table(self, name: str) -> str:
        """A table as float, dequantized at run time where it is int8."""
        if name not in self.quantization.tables:
            return self.weight(name)
        quantized = self.quantization.tables[name]
        values = self.constant(f"{name}.int8", quantized.values)
        scale = self.constant(f"{name}.row_scale", quantized.scale.astype(np.float32))
        return self.node("DequantizeLinear", [values, scale], f"{name}.float", axis=0)

    # -- products of int8

    def stays_uint8(self, op: Linear) -> bool:
        """Whether a static product's result is read by static products alone, so that it need never be float."""
        return {op.input, op.output} <= self.quantization.activations.keys() and all(
            isinstance(reader, Linear) and reader.residual != op.output and reader.weight in self.quantization.weights
            for reader in self.readers[op.output]
        )

    def as_uint8(self, value: str) -> tuple[str, str, str]:
        """A value's uint8 form, scale and zero point; made once, however many products read it."""
        if value not in self.quantized:
            names = (f"{value}.uint8", f"{value}.scale", f"{value}.zero_point")
            if value in self.quantization.activations:
                self.activation_constants(value)
                self.node("QuantizeLinear", [value, *names[1:]], names[0])
            else:
                self.node("DynamicQuantizeLinear", [value], list(names))
            self.quantized[value] = names
        return self.quantized[value]

    def activation_constants(self, value: str) -> list[str]:
        """The scale and zero point of a value whose uint8 range was chosen."""
        scale, zero_point = self.quantization.activations[value]
        return [
            self.constant(f"{value}.scale", np.float32(scale)),
            self.constant(f"{value}.zero_point", np.uint8(zero_point)),
        ]

    def integer_operands(self, op: Linear) -> tuple[list[str], list[str]]:
        """A product's input and weight, each with scale and zero point."""
        quantized = self.quantization.weights[op.weight]
        zeros = np.zeros_like(quantized.values[0])
        weight = [
            self.constant(f"{op.weight}.int8", quantized.values),
            self.constant(f"{op.weight}.scale", quantized.scale.astype(np.float32)),
            self.constant(f"{op.weight}.zero_points", zeros),
        ]
        return list(self.as_uint8(op.input)), weight

    def dynamic_product(self, op: Linear, output: str) -> str:
        """uint8 @ int8 -> float32, bias included; the input's range is measured at run time."""
        (value, scale, zero), (weight, weight_scale, weight_zeros) = self.integer_operands(op)
        arguments = [value, weight, scale, weight_scale, zero, weight_zeros]
        if op.bias is not None:
            arguments.append(self.weight(op.bias))
        return self.node("MatMulIntegerToFloat", arguments, output, domain=MICROSOFT)

    def static_product(self, op: Linear, output: str) -> str:
        """uint8 @ int8 -> float32, or uint8 where ``output`` is a value that stays so; bias included."""
        inputs, weight = self.integer_operands(op)
        bias = ""
        if op.bias is not None:
            step = self.quantization.activations[op.input][0] * self.quantization.weights[op.weight].scale
            limit = np.iinfo(np.int32).max // 2  # room for the product itself
            whole = np.clip(np.rint(self.program.weights[op.bias] / step), -limit, limit).astype(np.int32)
            bias = self.constant(f"{op.bias}.int32", whole)
        arguments = [*inputs, *weight, bias]
        if output == op.output and self.stays_uint8(op):
            scale_and_zero = self.activation_constants(output)
            self.quantized[output] = (f"{output}.uint8", *scale_and_zero)
            arguments, output = arguments + scale_and_zero, f"{output}.uint8"
        return self.node("QGemm", arguments, output, domain=MICROSOFT)
