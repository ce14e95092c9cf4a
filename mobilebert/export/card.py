"""The README.md of an exported folder."""

import json
from pathlib import Path

from mobilebert.base.files import write_text
from mobilebert.data.collate import INPUT_NAMES
from mobilebert.export import hub_layout, snippets
from mobilebert.export.checkpoint import Checkpoint
from mobilebert.export.litert_card import lines as litert_lines
from mobilebert.export.program import Output, Program
from mobilebert.inference.manifest import MANIFEST, PADDLE_PREFIX, Manifest
from mobilebert.inference.source import caution_of, reading_settings

CARD = "README.md"
_IN_FLOAT = "attention, residual sums and the head's last product in float32"
_PRECISIONS = {
    None: "float32",
    "fp16": "matrices stored in float16, computed in float32",
    "int8": f"int8, ranges from calibration data; {_IN_FLOAT}",
    "dynamic-int8": f"int8, ranges measured at run time; {_IN_FLOAT}",
}
_CALLS = {
    "question-answering": 'predictor.answer("Who wrote it?", "Ada wrote it.")[0].text',
    "sequence-classification": 'predictor.classify("A joy to watch.").label',
    "token-classification": 'predictor.entities("Ada Lovelace lived in London.")',
}
_PAIR_CALL = 'predictor.classify("It rains.", "The street is wet.").label'


def write(folder: Path, out: Path, manifest: Manifest, checkpoint: Checkpoint, program: Program) -> None:
    """Write ``README.md`` from what the folder holds.

    Args:
        folder: what is written.
        out: where it will be.
        manifest, checkpoint, program: what it holds, whence, and the inputs and outputs.
    """
    config = checkpoint.config
    rules = reading_settings(config, manifest.head, manifest.max_seq_length).override()
    labels = config.id2label.values()
    files = [path for path in sorted(folder.rglob("*")) if path.is_file() and path.name not in (MANIFEST, CARD)]
    lines = [
        f"# {checkpoint.folder.name}, exported",
        "",
        f"MobileBERT for {manifest.head}: {config.num_hidden_layers} layers, labels {', '.join(labels)}.",
        "",
        *([f"**Take care: it {caution}.**", ""] if (caution := caution_of(config, manifest.head)) else []),
        *_snippet(out, manifest, rules.takes_pairs, config.problem_type == "multi_label_classification"),
        "",
        f"- Engines: {', '.join(manifest.engines)}.",
    ]
    if "onnxruntime" in manifest.engines:
        operators = "the ONNX standard's operators only" if manifest.portable else "with ONNX Runtime's own operators"
        precision = _PRECISIONS[manifest.quantization]
        lines.append(f"- {manifest.onnx_file}: opset {manifest.opset}, {operators}; {precision}.")
    lines += [
        *_interface(manifest, program, config.max_position_embeddings),
        *hub_layout.notes(manifest.layout, checkpoint.tokenizer),
        f"- Texts are cut to {manifest.max_seq_length} tokens (answers and entities: to windows of so many).",
        f"- Source checkpoint's weights: sha256 {manifest.source_sha256}.",
        f"- Written with {', '.join(f'{name} {version}' for name, version in manifest.versions.items())}.",
        "",
        "| file | MB |",
        "| --- | --- |",
        *(f"| {path.relative_to(folder)} | {path.stat().st_size / 1e6:.2f} |" for path in files),
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
    lines += litert_lines(out, manifest, checkpoint)
    lines += snippets.sections(folder, out, manifest, config, rules)
    write_text(folder / CARD, "\n".join(lines) + "\n")


def _snippet(out: Path, manifest: Manifest, takes_pairs: bool | None, has_several_labels: bool) -> list[str]:
    """How to run the folder, as it was named when it was made."""
    name = json.dumps(str(out), ensure_ascii=False)
    if manifest.head in _CALLS:
        call = _PAIR_CALL if takes_pairs and manifest.head == "sequence-classification" else _CALLS[manifest.head]
        call = call.replace(".label", ".chosen") if has_several_labels else call
        what = ["from mobilebert import Predictor", "", f"predictor = Predictor({name})  # this folder"]
        return ["```python", *what, call, "```"]
    what = ["from mobilebert.inference.engines import load", "", f"engine = load({name})  # this folder"]
    return ["```python", *what, f"{', '.join(manifest.outputs)} = engine.run(batch)", "```"]


def _interface(manifest: Manifest, program: Program, positions: int) -> list[str]:
    """The inputs and outputs of the files, for other people's programs."""
    names = {"onnxruntime": manifest.onnx_file, "paddle": f"{PADDLE_PREFIX}.json"}
    files = " and ".join(name for engine, name in names.items() if engine in manifest.engines)
    if not files:
        return []
    lead = "[batch, choices, tokens]" if program.choices else "[batch, tokens]"
    inputs = ", ".join(f"`{name}`" for name in INPUT_NAMES)
    outputs = ", ".join(f"`{output.name}` {_shape(output, program.choices)}" for output in program.outputs)
    return [
        f"- Inputs of {files}, in this order: {inputs}; each int64 {lead}, up to {positions} tokens.",
        f"- Outputs, in this order: {outputs}; float32.",
    ]


def _shape(output: Output, choices: bool) -> str:
    if choices:
        return "[batch, choices]"
    columns = output.stop - output.start
    if not output.per_token:
        return f"[batch, {columns}]"
    return "[batch, tokens]" if output.squeeze else f"[batch, tokens, {columns}]"
