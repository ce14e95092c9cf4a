"""A reader of LiteRT files in NumPy: what an export writes, run without LiteRT, whose wheel is no part of the tests.

int8 weights are multiplied by their scales and activations are not rounded, as no runtime does it. That LiteRT itself
and MediaPipe read the files alike is what tests/clients/litert and tests/clients/mediapipe are for.
"""

import struct
import sys
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

import numpy as np
from flatbuffers.table import Table

from mobilebert.export.litert_tables import _TABLES
from mobilebert.export.litert_writer import _OPERATORS

NUMBERS = {"i8": "b", "u8": "B", "bool": "?", "i32": "<i", "u32": "<I", "f32": "<f"}
VECTORS = {"[u8]": np.uint8, "[i32]": np.int32, "[f32]": np.float32, "[i64]": np.int64}
TYPES = {0: np.float32, 1: np.float16, 2: np.int32, 6: np.bool_, 9: np.int8}
# Field -> the kind of table that it holds, where its name does not say it.
KINDS = {
    "operator_codes": "OperatorCode",
    "subgraphs": "SubGraph",
    "buffers": "Buffer",
    "signature_defs": "SignatureDef",
    "tensors": "Tensor",
    "operators": "Operator",
    "quantization": "QuantizationParameters",
    "metadata": "Metadata",
    "subgraph_metadata": "SubGraphMetadata",
    "input_tensor_metadata": "TensorMetadata",
    "output_tensor_metadata": "TensorMetadata",
    "input_process_units": "ProcessUnit",
    "associated_files": "AssociatedFile",
    "vocab_file": "AssociatedFile",
    "options": "BertTokenizerOptions",
    "content": "Content",
}


class View:
    """A table in a file, its fields as attributes; what is not there is None."""

    def __init__(self, kind: str, table: Table):
        self._kind, self._table = kind, table

    def get(self, name: str, kind: str | None = None) -> Any:
        """A field; ``kind`` is that of the table in a union."""
        fields = _TABLES[self._kind].split()
        slot = [field.split(":")[0] for field in fields].index(name)
        what, table = fields[slot].split(":")[1], self._table
        offset = table.Offset(4 + 2 * slot)
        if not offset:
            return None
        place = table.Pos + offset
        if what in NUMBERS:
            return struct.unpack_from(NUMBERS[what], table.Bytes, place)[0]
        if what == "str":
            return table.String(place).decode()
        inner = kind or ("TensorMap" if self._kind == "SignatureDef" else KINDS.get(name))
        if what == "table":
            return View(inner, Table(table.Bytes, table.Indirect(place)))
        start, count = table.Vector(offset), table.VectorLen(offset)
        if what == "[table]":
            return [View(inner, Table(table.Bytes, table.Indirect(start + 4 * n))) for n in range(count)]
        return np.frombuffer(table.Bytes, VECTORS[what], count, start)

    __getattr__ = get


def read(data: bytes, identifier: bytes = b"TFL3", kind: str = "Model") -> View:
    """The outermost table of a file."""
    if data[4:8] != identifier:
        raise ValueError(f"the identifier is {data[4:8]!r}")
    return View(kind, Table(bytearray(data), struct.unpack_from("<I", data)[0]))


class Interpreter:
    """Runs a file; called as LiteRT's is."""

    def __init__(self, model_path: str, num_threads: int | None = None):
        assert num_threads is None or num_threads > 0
        with open(model_path, "rb") as file:
            model = read(file.read())
        self.graph = model.subgraphs[0]
        names = {number: name for name, (number, *_) in _OPERATORS.items()}
        self.codes = [(names[code.builtin_code], code.version) for code in model.operator_codes]
        self.constants = {}
        for number, tensor in enumerate(self.graph.tensors):
            data = model.buffers[tensor.buffer].data
            if data is not None:
                self.constants[number] = data.view(TYPES[tensor.type]).reshape(tensor.shape)
        self.values: dict[int, np.ndarray] = {}
        self.sizes: dict[int, list[int]] = {}

    def _details(self, numbers: np.ndarray) -> list[dict[str, Any]]:
        tensors = self.graph.tensors
        return [{"name": tensors[n].name, "index": int(n), "shape": tensors[n].shape} for n in numbers]

    def get_input_details(self) -> list[dict[str, Any]]:
        return self._details(self.graph.inputs)

    def get_output_details(self) -> list[dict[str, Any]]:
        return self._details(self.graph.outputs)

    def resize_tensor_input(self, index: int, shape: list[int]) -> None:
        self.sizes[index] = shape

    def allocate_tensors(self) -> None:
        self.values = {}

    def set_tensor(self, index: int, value: np.ndarray) -> None:
        assert value.dtype == np.int32
        assert list(value.shape) == list(self.sizes.get(index, self.graph.tensors[index].shape))
        self.values[index] = value

    def get_tensor(self, index: int) -> np.ndarray:
        return self.values[index].copy()

    def invoke(self) -> None:
        values = {**self.constants, **self.values}
        for operator in self.graph.operators:
            name, _ = self.codes[operator.opcode_index]
            kind = _OPERATORS[name][1]
            options = operator.get("builtin_options", kind) if kind else None
            inputs = [values[number] for number in operator.inputs]
            scales = [self._scale(number) for number in operator.inputs]
            with np.errstate(over="ignore"):
                result = getattr(self, f"_{name.lower()}")(inputs, options, scales)
            number = operator.outputs[0]
            values[number] = result.astype(TYPES[self.graph.tensors[number].type])
        self.values |= {number: values[number] for number in self.graph.outputs}

    def _scale(self, number: int) -> np.ndarray | float:
        quantization = self.graph.tensors[number].quantization
        if quantization is None:
            return 1.0
        assert quantization.quantized_dimension == 0 and not quantization.zero_point.any()
        return quantization.scale[:, None]

    # -- operators: their inputs, options and scales -> their output

    def _fully_connected(self, inputs, options, scales):
        result = inputs[0] @ (inputs[1] * scales[1]).T.astype(np.float32) + inputs[2]
        assert options.asymmetric_quantize_inputs == (inputs[1].dtype == np.int8)
        return np.maximum(result, 0) if options.fused_activation_function == 1 else result

    def _embedding_lookup(self, inputs, options, scales):
        return (inputs[1] * scales[1])[inputs[0]]

    def _add(self, inputs, options, scales):
        result = inputs[0] + inputs[1]
        return np.maximum(result, 0) if options.fused_activation_function == 1 else result

    def _strided_slice(self, inputs, options, scales):
        value, begins, ends, steps = inputs
        ends = [None if options.end_mask >> axis & 1 else end for axis, end in enumerate(ends)]
        return value[tuple(map(slice, begins, ends, steps))]

    def _softmax(self, inputs, options, scales):
        assert options.beta == 1
        raised = np.exp(inputs[0] - inputs[0].max(-1, keepdims=True))
        return raised / raised.sum(-1, keepdims=True)

    def _batch_matmul(self, inputs, options, scales):
        return inputs[0] @ (inputs[1].swapaxes(-1, -2) if options.adj_y else inputs[1])

    def _gelu(self, inputs, options, scales):
        import paddle

        return paddle.nn.functional.gelu(paddle.to_tensor(inputs[0]), bool(options.approximate)).numpy()

    def _cumsum(self, inputs, options, scales):
        assert options.exclusive
        return inputs[0].cumsum(inputs[1]) - inputs[0]

    def _mean(self, inputs, options, scales):
        assert options.keep_dims
        return inputs[0].mean(tuple(inputs[1]), keepdims=True)

    def _concatenation(self, inputs, options, scales):
        return np.concatenate(inputs, options.axis)

    def _reshape(self, inputs, options, scales):
        return inputs[0].reshape(inputs[1])

    def _transpose(self, inputs, options, scales):
        return inputs[0].transpose(inputs[1])

    def _pad(self, inputs, options, scales):
        return np.pad(inputs[0], inputs[1])

    def _equal(self, inputs, options, scales):
        return inputs[0] == inputs[1]

    def _cast(self, inputs, options, scales):
        return inputs[0]

    _dequantize = _cast

    def _mul(self, inputs, options, scales):
        return inputs[0] * inputs[1]

    def _sub(self, inputs, options, scales):
        return inputs[0] - inputs[1]

    def _rsqrt(self, inputs, options, scales):
        return 1 / np.sqrt(inputs[0])

    def _logistic(self, inputs, options, scales):
        return 1 / (1 + np.exp(-inputs[0]))

    def _tanh(self, inputs, options, scales):
        return np.tanh(inputs[0])

    def _relu(self, inputs, options, scales):
        return np.maximum(inputs[0], 0)


def stand_in(monkeypatch) -> None:
    """Take the reader for LiteRT, for one test, where LiteRT is not installed."""
    package, module = ModuleType("ai_edge_litert"), ModuleType("ai_edge_litert.interpreter")
    for one in (package, module):
        one.__spec__ = ModuleSpec(one.__name__, None)
        monkeypatch.setitem(sys.modules, one.__name__, one)
    package.interpreter, module.Interpreter = module, Interpreter
