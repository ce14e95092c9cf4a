"""FlatBuffers without generated code: the tables of LiteRT's models and of their metadata that an export writes.

``flatbuffers`` alone is needed, which ONNX Runtime brings. The generated classes of ``ai-edge-litert`` hold the same
for models, and there are none for metadata that can be installed by themselves.

Source: tensorflow/compiler/mlir/lite/schema/schema.fbs, mediapipe/tasks/metadata/metadata_schema.fbs.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

# Table -> its fields in the order of the schema, up to the last that is written. A type is a number's, "str", "table",
# in brackets a vector of such, "-" for a field that is never written. A union is its kind (u8) and a table.
_TABLES = {
    "Model": "version:u32 operator_codes:[table] subgraphs:[table] description:str buffers:[table] metadata_buffer:- "
    "metadata:[table] signature_defs:[table]",
    "OperatorCode": "deprecated_builtin_code:i8 custom_code:- version:i32 builtin_code:i32",
    "SubGraph": "tensors:[table] inputs:[i32] outputs:[i32] operators:[table] name:str",
    "Buffer": "data:[u8]",
    "Metadata": "name:str buffer:u32",
    "Tensor": "shape:[i32] type:i8 buffer:u32 name:str quantization:table is_variable:- sparsity:- "
    "shape_signature:[i32] has_rank:bool",
    "QuantizationParameters": "min:- max:- scale:[f32] zero_point:[i64] details_type:- details:- "
    "quantized_dimension:i32",
    "Operator": "opcode_index:u32 inputs:[i32] outputs:[i32] builtin_options_type:u8 builtin_options:table",
    "SignatureDef": "inputs:[table] outputs:[table] signature_key:str reserved:- subgraph_index:u32",
    "TensorMap": "name:str tensor_index:u32",
    "AddOptions": "fused_activation_function:i8",
    "BatchMatMulOptions": "adj_x:bool adj_y:bool",
    "CastOptions": "in_data_type:i8 out_data_type:i8",
    "ConcatenationOptions": "axis:i32",
    "CumsumOptions": "exclusive:bool",
    "DequantizeOptions": "",
    "EmbeddingLookupOptions": "",
    "EqualOptions": "",
    "FullyConnectedOptions": "fused_activation_function:i8 weights_format:- keep_num_dims:- "
    "asymmetric_quantize_inputs:bool",
    "GeluOptions": "approximate:bool",
    "MulOptions": "",
    "PadOptions": "",
    "ReducerOptions": "keep_dims:bool",
    "ReshapeOptions": "new_shape:[i32]",
    "RsqrtOptions": "",
    "SoftmaxOptions": "beta:f32",
    "StridedSliceOptions": "begin_mask:i32 end_mask:i32",
    "SubOptions": "",
    "TransposeOptions": "",
    # Metadata.
    "ModelMetadata": "name:str description:str version:str subgraph_metadata:[table] author:str license:str "
    "associated_files:- min_parser_version:str",
    "SubGraphMetadata": "name:str description:str input_tensor_metadata:[table] output_tensor_metadata:[table] "
    "associated_files:- input_process_units:[table]",
    "TensorMetadata": "name:str description:str dimension_names:- content:table process_units:- stats:table "
    "associated_files:[table]",
    "Content": "content_properties_type:u8 content_properties:table",
    "FeatureProperties": "",
    "Stats": "max:[f32] min:[f32]",
    "AssociatedFile": "name:str description:str type:i8",
    "ProcessUnit": "options_type:u8 options:table",
    "BertTokenizerOptions": "vocab_file:[table]",
}
_ALIGNMENT = 16  # of a buffer's data, as the schema demands
_NUMBERS = {
    "bool": "Bool", "i8": "Int8", "u8": "Uint8", "i32": "Int32", "u32": "Uint32", "f32": "Float32",
}  # fmt: skip
_VECTORS = {"[i32]": np.int32, "[f32]": np.float32, "[i64]": np.int64}


@dataclass(frozen=True)
class Table:
    """A table of the schema ``kind`` with the fields that are set; the others have the schema's defaults."""

    kind: str
    fields: dict[str, Any]


def table(kind: str, **fields: Any) -> Table:
    """A table, its fields by their names in the schema."""
    return Table(kind, fields)


def to_bytes(root: Table, identifier: bytes, size: int = 1024) -> bytes:
    """Write a table and all that it holds.

    Args:
        root: the file's outermost table.
        identifier: four bytes that name the format.
        size: about how many bytes it will be; saves copies.
    """
    import flatbuffers

    builder = flatbuffers.Builder(size)
    builder.Finish(_write(builder, root), file_identifier=identifier)
    return bytes(builder.Output())


def _write(builder: Any, value: Table) -> int:
    """Write a table behind what it refers to; gives its place."""
    kinds = dict(field.split(":") for field in _TABLES[value.kind].split())
    slots = list(kinds)
    placed = {name: _place(builder, kinds[name], content) for name, content in value.fields.items()}
    builder.StartObject(len(slots))
    for name, content in placed.items():
        write = getattr(builder, f"Prepend{_NUMBERS.get(kinds[name], 'UOffsetTRelative')}Slot")
        # None: a number is written though it be the schema's default, of which nothing is known here.
        write(slots.index(name), content, None if kinds[name] in _NUMBERS else 0)
    return builder.EndObject()


def _place(builder: Any, kind: str, content: Any) -> Any:
    """What a field holds: a number as it is, of all else the place to which it was written."""
    if kind in _NUMBERS:
        return content
    if kind == "str":
        return builder.CreateString(content)
    if kind == "table":
        return _write(builder, content)
    if kind == "[table]":
        places = [_write(builder, one) for one in content]
        builder.StartVector(4, len(places), 4)
        for place in reversed(places):
            builder.PrependUOffsetTRelative(place)
        return builder.EndVector()
    if kind == "[u8]":
        builder.StartVector(1, len(content), _ALIGNMENT)
        builder.head -= len(content)
        builder.Bytes[builder.head : builder.head + len(content)] = content
        return builder.EndVector()
    return builder.CreateNumpyVector(np.asarray(content, _VECTORS[kind]))
