"""What an exported folder holds: ``export.json``, its names and its reader."""

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

from msgspec import Meta

from mobilebert.base import digests
from mobilebert.base.errors import InputError
from mobilebert.base.files import write_json
from mobilebert.base.records import as_record, read_record

MANIFEST = digests.EXPORT_TABLE
ONNX_FILE = "model.onnx"
# By quantization, where transformers.js looks for them.
HUB_FILES = {
    None: "onnx/model.onnx",
    "dynamic-int8": "onnx/model_quantized.onnx",
    "int8": "onnx/model_quantized.onnx",
    "fp16": "onnx/model_fp16.onnx",
}
NATIVE_FILE = "native.safetensors"  # not model.safetensors, which a checkpoint beside it has
LITERT_FILE = "model.tflite"
# Input of every model -> its name in a LiteRT file, which is MediaPipe's and the TF Lite Task Library's.
LITERT_INPUTS = {"input_ids": "ids", "token_type_ids": "segment_ids", "attention_mask": "mask"}
ONNX_OPSET = 20  # the first with Gelu
PADDLE_PREFIX = "model"  # model.json and model.pdiparams
FORMAT = 1
_Name = Annotated[str, Meta(pattern=r"^[A-Za-z0-9_-]{1,40}\Z")]


@dataclass(frozen=True)
class Manifest:
    """The content of ``export.json``.

    Attributes:
        head: a key of ``config.HEAD_CLASSES``.
        outputs: names of the results, in order.
        engines: those that the folder has files for.
        quantization: ``"int8"``, ``"dynamic-int8"``, ``"fp16"``, ``"bf16"`` or None; of the files that can have it.
        portable: whether the ONNX file keeps to the standard's operators.
        opset: of the ONNX file.
        max_seq_length: tokens; longer texts are cut into windows (answers) or cut off (classes).
        errors: engine -> largest error relative to the unfolded model in float64.
        metrics: what was measured on the evaluation file, by precision.
        source_sha256: checksum of the source checkpoint's weights.
        versions: library -> version that wrote the files.
        files: size and sha256 of each but this and the card, see ``base.digests``.
        format: of this file.
        layout: ``"hub"`` or ``"web"`` where the ONNX files are those of ``HUB_FILES``; ``"flat"`` for ``ONNX_FILE``.
    """

    head: _Name
    outputs: list[_Name]
    engines: list[_Name]
    quantization: str | None
    portable: bool
    opset: int
    max_seq_length: int
    errors: dict[str, float] = field(default_factory=dict)
    metrics: dict[str, dict[str, float]] = field(default_factory=dict)
    source_sha256: str = ""
    versions: dict[str, str] = field(default_factory=dict)
    files: dict[str, dict[str, Any]] = field(default_factory=dict)
    format: int = FORMAT
    layout: Literal["flat", "hub", "web"] = "flat"

    @property
    def onnx_file(self) -> str:
        """The ONNX file that engines run, below the folder."""
        return ONNX_FILE if self.layout == "flat" else HUB_FILES.get(self.quantization, HUB_FILES[None])

    def save(self, folder: Path) -> None:
        """Write ``export.json`` into ``folder``."""
        write_json(folder / MANIFEST, asdict(self))

    @classmethod
    def load(cls, folder: Path) -> "Manifest":
        """Read ``folder``'s ``export.json``.

        Raises:
            InputError: it is missing, broken, or of another format.
        """
        path = folder / MANIFEST
        if not path.exists():
            raise InputError(f"{folder}: no {MANIFEST}, so not an exported model; make one with export.py")
        values = read_record(path, dict[str, Any])
        if values.get("format") != FORMAT:
            raise InputError(f"{path}: expected format {FORMAT}; export the model again with this version")
        return as_record(values, cls, path, "not what export.py writes; export the model again")
