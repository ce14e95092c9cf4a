"""The README.md of an exported folder."""

from pathlib import Path

from mobilebert.base.files import write_text
from mobilebert.inference.manifest import MANIFEST, ONNX_FILE, Manifest
from mobilebert.model.config import MobileBertConfig

CARD = "README.md"
_IN_FLOAT = "attention, residual sums and the head's last product in float32"
_PRECISIONS = {
    None: "float32",
    "fp16": "matrices stored in float16, computed in float32",
    "int8": f"int8, ranges from calibration data; {_IN_FLOAT}",
    "dynamic-int8": f"int8, ranges measured at run time; {_IN_FLOAT}",
}


def write(folder: Path, manifest: Manifest, config: MobileBertConfig, source: str) -> None:
    """Write ``README.md`` from what the folder holds."""
    labels = config.id2label.values()
    files = sorted(path for path in folder.iterdir() if path.name not in (MANIFEST, CARD))
    lines = [
        f"# {source}, exported",
        "",
        f"MobileBERT for {manifest.head}: {config.num_hidden_layers} layers, labels {', '.join(labels)}.",
        "",
        "```python",
        "from mobilebert import Predictor",
        "",
        f'predictor = Predictor("{source}-exported")  # this folder',
        "```",
        "",
        f"- Engines: {', '.join(manifest.engines)}.",
    ]
    if "onnxruntime" in manifest.engines:
        operators = "the ONNX standard's operators only" if manifest.portable else "with ONNX Runtime's own operators"
        lines.append(f"- {ONNX_FILE}: opset {manifest.opset}, {operators}; {_PRECISIONS[manifest.quantization]}.")
    lines += [
        f"- Texts are cut to {manifest.max_seq_length} tokens (answers: to windows of so many).",
        f"- Source checkpoint's weights: sha256 {manifest.source_sha256}.",
        f"- Written with {', '.join(f'{name} {version}' for name, version in manifest.versions.items())}.",
        "",
        "| file | MB |",
        "| --- | --- |",
        *(f"| {path.name} | {path.stat().st_size / 1e6:.2f} |" for path in files),
        "",
        "Largest error against the unfolded model in float64, relative to the largest output, over four batches:",
        "",
        "| engine | error |",
        "| --- | --- |",
        *(f"| {engine} | {error:.1e} |" for engine, error in manifest.errors.items()),
    ]
    if manifest.metrics:
        names = list(next(iter(manifest.metrics.values())))
        lines += [
            "",
            "On the evaluation file, in percent:",
            "",
            f"| precision | {' | '.join(names)} |",
            f"| --- |{' --- |' * len(names)}",
            *(
                f"| {precision} | {' | '.join(f'{values[name]:.2f}' for name in names)} |"
                for precision, values in manifest.metrics.items()
            ),
        ]
    write_text(folder / CARD, "\n".join(lines) + "\n")
