"""What a LiteRT file says of itself: for MediaPipe Tasks' TextClassifier and the TF Lite Task Library.

Both want a BERT's three inputs named, the tokenizer's vocabulary and the classes' names inside the file. The names
stand in a FlatBuffer among the model's buffers; the texts are a zip behind the model, stored as they are.

Source: mediapipe/tasks/metadata/metadata_schema.fbs.
"""

import io
import zipfile
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from mobilebert import __version__
from mobilebert.base.errors import InputError
from mobilebert.export.litert_tables import Table, table, to_bytes
from mobilebert.inference.manifest import LITERT_INPUTS

if TYPE_CHECKING:
    from mobilebert.export.checkpoint import Checkpoint

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


def probability(checkpoint: "Checkpoint") -> str | None:
    """The operator that makes probabilities of a classifier's logits; None where they are none."""
    config = checkpoint.config
    if checkpoint.head != "sequence-classification" or config.is_regression:
        return None
    return "LOGISTIC" if config.problem_type == "multi_label_classification" else "SOFTMAX"


def files(checkpoint: "Checkpoint") -> dict[str, list[str]]:
    """The lines of the files behind the model: every token by its id, and the classes where there are some.

    Raises:
        InputError: one of them is more than a line.
    """
    ids = checkpoint.tokenizer.get_vocab()
    vocabulary = [""] * (max(ids.values()) + 1)
    for token, number in ids.items():
        vocabulary[number] = token
    found = {VOCABULARY: vocabulary}
    if checkpoint.head != "question-answering":
        found[LABELS] = list(checkpoint.config.id2label.values())
    for name, lines in found.items():
        for line in lines:
            if "\n" in line or "\r" in line:
                raise InputError(
                    f"{checkpoint.folder}: {line!r} has a line break, which {name} in the file cannot have"
                )
    return found


def metadata(checkpoint: "Checkpoint", outputs: Sequence[str]) -> bytes:
    """The FlatBuffer for outputs of these names, in order."""
    name, head = checkpoint.folder.name, checkpoint.head
    labels = [table("AssociatedFile", name=LABELS, description="The classes, a line each.", type=_AXIS_LABELS)]
    vocabulary = table("AssociatedFile", name=VOCABULARY, description="The tokens, a line each.", type=_VOCABULARY)
    unit = table(
        "ProcessUnit", options_type=_BERT_TOKENIZER, options=table("BertTokenizerOptions", vocab_file=[vocabulary])
    )
    subgraph = table(
        "SubGraphMetadata",
        name=head,
        input_tensor_metadata=[_tensor(name, _INPUTS[name]) for name in LITERT_INPUTS.values()],
        output_tensor_metadata=[
            _tensor(name, _OUTPUTS[name], **({} if head == "question-answering" else {"associated_files": labels}))
            for name in outputs
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
