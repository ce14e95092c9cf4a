"""What a LiteRT file says of itself: for MediaPipe Tasks' TextClassifier and the TF Lite Task Library.

Both want a BERT's three inputs named, the tokenizer's vocabulary and the classes' names inside the file. The names stand in
a FlatBuffer among the model's buffers; the texts are a zip behind the model, stored as they are.

Source: mediapipe/tasks/metadata/metadata_schema.fbs.
"""

import io
import zipfile
from collections.abc import Mapping, Sequence

from mobilebert import __version__
from mobilebert.export.flat_tables import Table, table, to_bytes
from mobilebert.export.litert_graph import INPUTS

IDENTIFIER = b"M001"
VOCABULARY, LABELS = "vocab.txt", "labels.txt"
_PARSER = "1.1.0"  # the first that knows a BERT tokenizer's options
_VOCABULARY, _AXIS_LABELS = 5, 2  # kinds of associated files
_BERT_TOKENIZER = 4  # of the options of a process unit
_FEATURES = 1  # of contents
_INPUTS = {
    "ids": "Tokens of the text: [CLS], its word pieces, [SEP]; 0 behind them.",
    "segment_ids": "0 in the first text, 1 in the second.",
    "mask": "1 for tokens, 0 behind them.",
}
_OUTPUTS = {
    "probability": "Of each class, in the order of labels.txt.",
    "logits": "Of each class, in the order of labels.txt, before softmax or sigmoid.",
    "start_logits": "Of each token: that the answer begins there.",
    "end_logits": "Of each token: that the answer ends there.",
}


def metadata(name: str, head: str, outputs: Sequence[str], per_class: bool) -> bytes:
    """The FlatBuffer.

    Args:
        name: of the model.
        head: a key of ``HEAD_CLASSES``.
        outputs: names of the outputs, in order.
        per_class: the last axis of each output is classes.
    """
    labels = [table("AssociatedFile", name=LABELS, description="The classes, a line each.", type=_AXIS_LABELS)]
    vocabulary = table("AssociatedFile", name=VOCABULARY, description="The tokens, a line each.", type=_VOCABULARY)
    unit = table(
        "ProcessUnit", options_type=_BERT_TOKENIZER, options=table("BertTokenizerOptions", vocab_file=[vocabulary])
    )
    subgraph = table(
        "SubGraphMetadata",
        name=head,
        input_tensor_metadata=[_tensor(name, _INPUTS[name]) for name in INPUTS.values()],
        output_tensor_metadata=[
            _tensor(name, _OUTPUTS[name], **({"associated_files": labels} if per_class else {})) for name in outputs
        ],
        input_process_units=[unit],
    )
    root = table(
        "ModelMetadata",
        name=name,
        description=f"MobileBERT for {head}.",
        version=__version__,
        subgraph_metadata=[subgraph],
        author="mobilebert-paddle",
        min_parser_version=_PARSER,
    )
    return to_bytes(root, IDENTIFIER)


def _tensor(name: str, description: str, **more: object) -> Table:
    content = table("Content", content_properties_type=_FEATURES, content_properties=table("FeatureProperties"))
    return table("TensorMetadata", name=name, description=description, content=content, **more)


def with_files(model: bytes, files: Mapping[str, Sequence[str]]) -> bytes:
    """A model with a zip of texts behind it, a line an entry; the same bytes each time."""
    buffer = io.BytesIO(model)
    with zipfile.ZipFile(buffer, "a", zipfile.ZIP_STORED) as archive:
        for name, lines in files.items():
            archive.writestr(zipfile.ZipInfo(name), "".join(f"{line}\n" for line in lines))
    return buffer.getvalue()
