"""A LiteRT model in the making: tensors, constants and operators, whatever the program.

S tokens
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from mobilebert.export.litert_tables import Table, table, to_bytes
from mobilebert.export.variant import QuantizedWeight, Variant
from mobilebert.inference.manifest import LITERT_INPUTS

IDENTIFIER = b"TFL3"
METADATA_NAME = "TFLITE_METADATA"
_TYPES = {"float32": 0, "float16": 1, "int32": 2, "bool": 6, "int8": 9}
# Operator -> its number, the kind of its options, and that kind's number in the union.
_OPERATORS = {
    "ADD": (0, "AddOptions", 11),
    "CONCATENATION": (2, "ConcatenationOptions", 10),
    "DEQUANTIZE": (6, "DequantizeOptions", 38),
    "EMBEDDING_LOOKUP": (7, None, 0),
    "FULLY_CONNECTED": (9, "FullyConnectedOptions", 8),
    "LOGISTIC": (14, None, 0),
    "MUL": (18, "MulOptions", 21),
    "RELU": (19, None, 0),
    "RESHAPE": (22, "ReshapeOptions", 17),
    "SOFTMAX": (25, "SoftmaxOptions", 9),
    "TANH": (28, None, 0),
    "PAD": (34, "PadOptions", 22),
    "TRANSPOSE": (39, "TransposeOptions", 26),
    "MEAN": (40, "ReducerOptions", 27),
    "SUB": (41, "SubOptions", 28),
    "STRIDED_SLICE": (45, "StridedSliceOptions", 32),
    "CAST": (53, "CastOptions", 37),
    "EQUAL": (71, "EqualOptions", 53),
    "RSQRT": (76, None, 0),
    "BATCH_MATMUL": (126, "BatchMatMulOptions", 101),
    "CUMSUM": (128, "CumsumOptions", 102),
    "GELU": (150, "GeluOptions", 116),
}


class GraphWriter:
    """Collects what the file holds; a graph adds the operations."""

    def __init__(self, variant: Variant, length: int):
        self.program, self.variant, self.length = variant.program, variant, length
        self.buffers: list[Table] = [table("Buffer")]  # the first is of tensors without constants
        self.tensors: list[Table] = []
        self.numbers: dict[str, int] = {}  # tensor's name -> its number
        self.shapes: dict[str, tuple[int, ...]] = {}
        self.codes: dict[tuple[str, int], int] = {}  # operator and version -> its number in this file
        self.operators: list[Table] = []
        self.size = 0

    def tensor(self, name: str, shape: tuple[int, ...], dtype: str = "float32", buffer: int = 0, **more: Any) -> str:
        """Note a tensor, with ``more`` fields of its table; gives its name."""
        self.numbers[name], self.shapes[name] = len(self.tensors), shape
        self.tensors.append(table("Tensor", shape=shape, type=_TYPES[dtype], buffer=buffer, name=name, **more))
        return name

    def constant(self, name: str, value: np.ndarray | np.generic | list, **more: Any) -> str:
        """Keep a constant, once; a list is int32. Gives its name."""
        if name not in self.numbers:
            array = np.array(value, np.int32) if isinstance(value, list) else np.asarray(value)
            self.buffers.append(table("Buffer", data=array.tobytes()))
            self.size += array.nbytes
            self.tensor(name, array.shape, str(array.dtype), len(self.buffers) - 1, **more)
        return name

    def op(
        self,
        name: str,
        inputs: Sequence[str],
        output: str,
        shape: tuple[int, ...],
        dtype: str = "float32",
        version: int = 1,
        **options: Any,
    ) -> str:
        """Append an operator; gives its output's name."""
        _, kind, number = _OPERATORS[name]
        self.tensor(output, shape, dtype)
        fields = {
            "opcode_index": self.codes.setdefault((name, version), len(self.codes)),
            "inputs": [self.numbers[given] for given in inputs],
            "outputs": [self.numbers[output]],
        }
        if kind is not None:
            fields |= {"builtin_options_type": number, "builtin_options": table(kind, **options)}
        self.operators.append(Table("Operator", fields))
        return output

    def vector(self, name: str) -> str:
        """A weight in float32, as it is."""
        return self.constant(name, self.program.weights[name].astype(np.float32))

    def matrix(self, name: str) -> str:
        """A product's weight [in, out] as [out, in] in float32, or in float16 that is widened when it is loaded."""
        value = self.program.weights[name].T
        if not (self.variant.half_weights and np.abs(value).max() < np.finfo(np.float16).max):
            return self.constant(name, value.astype(np.float32))
        if name not in self.numbers:
            self.constant(f"{name}.half", value.astype(np.float16))
            self.op("DEQUANTIZE", [f"{name}.half"], name, value.shape, version=3)
        return name

    def int8(self, name: str, values: np.ndarray, stored: QuantizedWeight) -> str:
        """An int8 constant with one scale a row."""
        scale = stored.scale.reshape(-1)
        zeros = np.zeros(len(scale), np.int64)
        quantization = table("QuantizationParameters", scale=scale, zero_point=zeros, quantized_dimension=0)
        return self.constant(name, values, quantization=quantization)

    def rows(self, name: str, ids: str, output: str) -> str:
        """Rows of an embedding table, int8 or float32: [S] -> [S, width]."""
        shape = (self.length, self.program.weights[name].shape[1])
        stored = self.variant.quantization.tables.get(name)
        values, version = (self.vector(name), 1) if stored is None else (self.int8(name, stored.values, stored), 4)
        return self.op("EMBEDDING_LOOKUP", [ids, values], output, shape, version=version)

    def reshape(self, value: str, new_shape: list[int], output: str, shape: tuple[int, ...]) -> str:
        """With -1 in the place of what depends on S."""
        name = self.constant(f"shape.{'x'.join(map(str, new_shape))}", new_shape)
        return self.op("RESHAPE", [value, name], output, shape, new_shape=new_shape)

    def slice(
        self, value: str, begin: list[int], end: list[int], end_mask: int, output: str, shape: tuple[int, ...]
    ) -> str:
        """Rows and columns from ``begin`` to ``end``; to its end of an axis that has its bit in ``end_mask``."""
        limits = [self.constant(f"at.{'.'.join(map(str, at))}", at) for at in (begin, end, [1] * len(begin))]
        return self.op("STRIDED_SLICE", [value, *limits], output, shape, end_mask=end_mask)

    def to_bytes(self, outputs: list[str], metadata: bytes) -> bytes:
        """The file, with these outputs."""
        self.buffers.append(table("Buffer", data=metadata))
        inside = {name: self.numbers[name] for name in LITERT_INPUTS.values()}
        outside = {name: self.numbers[name] for name in outputs}
        signature = table(
            "SignatureDef",
            inputs=[table("TensorMap", name=name, tensor_index=number) for name, number in inside.items()],
            outputs=[table("TensorMap", name=name, tensor_index=number) for name, number in outside.items()],
            signature_key="serving_default",
            subgraph_index=0,
        )
        subgraph = table(
            "SubGraph",
            tensors=self.tensors,
            inputs=list(inside.values()),
            outputs=list(outside.values()),
            operators=self.operators,
            name="main",
        )
        model = table(
            "Model",
            version=3,
            operator_codes=[self._code(*code) for code in self.codes],
            subgraphs=[subgraph],
            description="MobileBERT, written by mobilebert-paddle",
            buffers=self.buffers,
            metadata=[table("Metadata", name=METADATA_NAME, buffer=len(self.buffers) - 1)],
            signature_defs=[signature],
        )
        return to_bytes(model, IDENTIFIER, self.size + len(metadata) + 200 * len(self.tensors) + 100_000)

    def _code(self, name: str, version: int) -> Table:
        number = _OPERATORS[name][0]
        # The old field has a byte, and 127 says that the new one counts.
        old = min(number, 127)
        return table("OperatorCode", deprecated_builtin_code=old, version=version, builtin_code=number)
