"""From a checkpoint to a folder that runs without it: fold, write, check, measure, describe."""

import logging
import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

import numpy as np
import onnx
import paddle

from mobilebert.accel import dispatch
from mobilebert.base import hub, outputs
from mobilebert.base.errors import InputError
from mobilebert.base.files import file_digest, read_json
from mobilebert.export import card, onnx_graph, paddle_graph
from mobilebert.export.fold import fold
from mobilebert.export.program import Program
from mobilebert.export.quantization import quantize
from mobilebert.export.samples import Samples, read_samples
from mobilebert.inference.engines import Engine, EngineOptions, OnnxRuntimeEngine, PaddleEngine
from mobilebert.inference.manifest import MANIFEST, ONNX_FILE, PADDLE_PREFIX, Manifest
from mobilebert.inference.source import default_max_seq_length
from mobilebert.model import heads, weights
from mobilebert.model.config import HEAD_CLASSES, MobileBertConfig
from mobilebert.text.tokenizer import MobileBertTokenizer

FORMATS = ("onnx", "paddle", "all")
QUANTIZATIONS = ("int8", "dynamic-int8", "fp16")
LARGEST_ERROR = 1e-5  # of a float32 file, relative to the largest output
LARGEST_FOLD_ERROR = 1e-8  # of the folded program in float64: a wrong fold shows here, whatever float32 rounds
CALIBRATION_ROWS = 128

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Plan:
    """What to export, and how.

    Attributes:
        model: a checkpoint's folder or hub name.
        out: the folder to make.
        format: ``"onnx"``, ``"paddle"`` or ``"all"`` (both, and the checkpoint itself for dygraph).
        quantize: ``"int8"``, ``"dynamic-int8"``, ``"fp16"`` or None; of the ONNX file.
        calibration: text for int8's ranges, required by ``"int8"``.
        evaluation: text with labels to measure on; None takes ``calibration``.
        evaluation_limit: questions or texts of it at most.
        head: a key of ``HEAD_CLASSES``; None takes what the checkpoint says it is.
        portable: write the ONNX file with the standard's operators only.
        max_seq_length: tokens; None takes what the model was trained with, or 384, or all positions of the model.
        force: replace ``out`` where it is an earlier export.
    """

    model: str
    out: Path
    format: str = "onnx"
    quantize: str | None = None
    calibration: str | None = None
    evaluation: str | None = None
    evaluation_limit: int | None = None
    head: str | None = None
    portable: bool = False
    max_seq_length: int | None = None
    force: bool = False

    def __post_init__(self):
        if self.format not in FORMATS:
            raise InputError(f"--format {self.format}: expected one of {', '.join(FORMATS)}")
        if self.quantize is not None and self.quantize not in QUANTIZATIONS:
            raise InputError(f"--quantize {self.quantize}: expected one of {', '.join(QUANTIZATIONS)}")
        if self.quantize is not None and self.format == "paddle":
            raise InputError(f"--quantize {self.quantize} is for ONNX; use --format onnx or all")
        if self.quantize is not None and "int8" in self.quantize and self.portable:
            raise InputError("--portable has no int8: its fast products are ONNX Runtime's own operators; drop one")
        if self.quantize == "int8" and self.calibration is None:
            raise InputError("--quantize int8 needs --calibration FILE (or use dynamic-int8, which needs none)")
        if self.calibration is not None and self.quantize != "int8":
            raise InputError("--calibration is read by --quantize int8 only; to measure, use --evaluation")
        if os.path.lexists(self.out) and not self.force:
            raise InputError(f"{self.out} exists; choose another folder, or --force to replace it")
        check_replaceable(self.out, [self.model, self.calibration, self.evaluation])


@dataclass(frozen=True)
class Checkpoint:
    """A model with everything that is known about it."""

    folder: Path
    head: str
    config: MobileBertConfig
    model: heads.MobileBertPreTrainedModel
    tokenizer: MobileBertTokenizer
    sha256: str


def export(plan: Plan) -> Manifest:
    """Make the folder ``plan.out``; it appears complete or not at all.

    Raises:
        InputError: an unknown or damaged checkpoint, text of a wrong format, a file that does not compute what the
            checkpoint computes, or another process that writes the folder.
    """
    with outputs.lock_beside(plan.out):
        return _export(plan)


def check_replaceable(out: Path, sources: Sequence[str | None]) -> None:
    """Refuse to replace a folder that is more than an earlier export.

    Args:
        out: the folder to be written; may be missing.
        sources: files and folders that are read; names of the hub's and None are passed over.

    Raises:
        InputError: a file, a link, no export, an export with other files in it, one that holds a source, or the folder
            that the process works in.
    """
    if not os.path.lexists(out):
        return
    if out.is_symlink():
        raise InputError(f"{out}: a link, and an export never replaces what a link points to; choose another folder")
    if not out.is_dir():
        raise InputError(f"{out}: a file, but a folder is to be written; choose another name")
    place = out.resolve()
    for source in [*filter(None, sources), Path.cwd()]:
        path = Path(source).resolve()
        if Path(source).exists() and (path == place or place in path.parents):
            what = "is" if path == place else "holds"
            raise InputError(f"{out}: {what} {source}, which must not be replaced; choose another folder")
    if any(out.iterdir()):
        _check_is_export(out)


def _check_is_export(folder: Path) -> None:
    manifest = read_json(folder / MANIFEST) if (folder / MANIFEST).is_file() else None
    if not isinstance(manifest, dict) or "head" not in manifest:
        raise InputError(f"{folder}: holds no {MANIFEST} of an export, and only an export is replaced")
    ours = {
        MANIFEST, ONNX_FILE, f"{PADDLE_PREFIX}.json", f"{PADDLE_PREFIX}.pdiparams", "README.md",
        *hub.CONFIG_FILES, *hub.TOKENIZER_FILES, weights.SAFETENSORS,
    }  # fmt: skip
    others = sorted(path.name for path in folder.iterdir() if path.name not in ours)
    if others:
        raise InputError(f"{folder}: holds {others[0]}, which no export wrote; move it away, or choose another folder")


def _export(plan: Plan) -> Manifest:
    checkpoint = load_checkpoint(plan.model, plan.head)
    max_seq_length = plan.max_seq_length or default_max_seq_length(checkpoint.config)
    if not 4 <= max_seq_length <= checkpoint.config.max_position_embeddings:
        raise InputError(
            f"--max_seq_length {max_seq_length}: expected 4 to {checkpoint.config.max_position_embeddings} tokens, "
            "what the model has positions for"
        )
    calibration, evaluation = (
        read_samples(path, checkpoint.head, checkpoint.config, checkpoint.tokenizer, max_seq_length, limit)
        if path is not None
        else None
        for path, limit in ((plan.calibration, None), (plan.evaluation or plan.calibration, plan.evaluation_limit))
    )
    with _new_folder(plan.out, [plan.model, plan.calibration, plan.evaluation]) as folder:
        manifest = _write(plan, checkpoint, folder, max_seq_length, calibration, evaluation)
    return manifest


def _write(
    plan: Plan,
    checkpoint: Checkpoint,
    folder: Path,
    max_seq_length: int,
    calibration: Samples | None,
    evaluation: Samples | None,
) -> Manifest:
    state = weights.model_state(checkpoint.model)
    is_int8 = plan.quantize is not None and "int8" in plan.quantize
    program = fold(checkpoint.config, state, checkpoint.head)
    inputs = check_inputs(checkpoint.config, program.choices)
    truth, rounding = reference_outputs(checkpoint, inputs)
    check_fold(program, inputs, truth)
    limit = max(LARGEST_ERROR, 4 * rounding)  # where float32 itself does worse, nothing in float32 can do better
    names = [output.name for output in program.outputs]
    engines, errors, metrics = [], {}, {}
    if plan.format in ("onnx", "all"):
        engines.append("onnxruntime")
        path = folder / ONNX_FILE
        if is_int8:
            exact = fold(checkpoint.config, state, checkpoint.head, divide=False)
            batches = calibration.batches(CALIBRATION_ROWS) if plan.quantize == "int8" else None
            quantized, quantization = quantize(exact, batches)
            _save_onnx(onnx_graph.build(quantized, quantization=quantization), path)
        else:
            half = plan.quantize == "fp16"
            _save_onnx(onnx_graph.build(program, portable=plan.portable, half_weights=half), path)
        engine = OnnxRuntimeEngine(folder, checkpoint.head, names, EngineOptions())
        errors["onnxruntime"] = error = largest_error(engine, names, inputs, truth)
        # int8 rounds as it must, but it gives numbers.
        _require(error, limit if plan.quantize is None else np.finfo(np.float32).max, "the ONNX file")
        if evaluation is not None and evaluation.score is not None:
            if plan.quantize is None:
                metrics["fp32"] = measure(engine, evaluation)
            else:
                plain = folder / "fp32.onnx"
                _save_onnx(onnx_graph.build(program), plain)
                metrics["fp32"] = measure(
                    OnnxRuntimeEngine(folder, checkpoint.head, names, EngineOptions(), plain.name), evaluation
                )
                plain.unlink()
                metrics[plan.quantize] = measure(engine, evaluation)
    if plan.format in ("paddle", "all"):
        engines.append("paddle")
        # Fused products are the faster ones in Paddle.
        paddle_graph.save(program, folder / PADDLE_PREFIX)
        errors["paddle"] = error = largest_error(
            PaddleEngine(folder, checkpoint.head, names, EngineOptions()), names, inputs, truth
        )
        _require(error, limit, "the Paddle files")
    checkpoint.config.save_pretrained(folder)
    if plan.format == "all":
        engines.append("dygraph")
        checkpoint.model.save_pretrained(folder)
        errors["dygraph"] = rounding
    checkpoint.tokenizer.save_pretrained(folder)
    manifest = Manifest(
        head=checkpoint.head,
        outputs=names,
        engines=engines,
        quantization=plan.quantize,
        portable=plan.portable and "onnxruntime" in engines,
        opset=onnx_graph.OPSET,
        max_seq_length=max_seq_length,
        errors=errors,
        metrics=metrics,
        source_sha256=checkpoint.sha256,
        versions={name: metadata.version(name) for name in ("onnx", "onnxruntime", "paddlepaddle")},
    )
    manifest.save(folder)
    card.write(folder, manifest, checkpoint.config, checkpoint.folder.name)
    return manifest


def load_checkpoint(name_or_path: str, head: str | None = None) -> Checkpoint:
    """Load a checkpoint with all of its head.

    Raises:
        InputError: no such checkpoint, an unknown or missing head, damaged weights, or no tokenizer.
    """
    folder = weights.resolve_folder(name_or_path)
    config = MobileBertConfig.from_pretrained(folder)
    if head is None:
        declared = config.extra.get("architectures") or []
        head = config.head
        if head is None:
            raise InputError(
                f"{folder}/config.json: architectures {declared} names no head known here; "
                f"say which with --head ({', '.join(HEAD_CLASSES)})"
            )
    elif head not in HEAD_CLASSES:
        raise InputError(f"--head {head}: expected one of {', '.join(HEAD_CLASSES)}")
    model = getattr(heads, HEAD_CLASSES[head]).from_pretrained(folder)
    if model.load_report.initialised:
        raise InputError(
            f"{folder}: has no {model.load_report.initialised[0]}, so it is no {head} model; "
            "fine-tune it first, or name its head with --head"
        )
    tokenizer = MobileBertTokenizer.from_pretrained(folder)
    if len(tokenizer) > config.vocab_size:
        raise InputError(
            f"{folder}: its tokenizer has {len(tokenizer)} tokens, its model {config.vocab_size}; "
            "do they belong together?"
        )
    files = sorted(path for path in folder.iterdir() if path.suffix in (".safetensors", ".pdparams"))
    return Checkpoint(folder, head, config, model, tokenizer, file_digest(files[0]))


def check_inputs(config: MobileBertConfig, choices: bool) -> list[dict[str, np.ndarray]]:
    """Random token ids in several shapes: all tokens seen, padded rows, holes in the mask, one token."""
    rng = np.random.default_rng(0)
    positions = config.max_position_embeddings
    batches = []
    for batch, length, kind in ((1, 1, "full"), (1, 16, "full"), (3, 33, "padded"), (2, 128, "holes")):
        length = min(length, positions)
        shape = (batch, 2, length) if choices else (batch, length)
        mask = np.ones(shape, np.int64)
        if kind == "padded":
            mask[...] = np.arange(length) < rng.integers(1, length + 1, (*shape[:-1], 1))
        elif kind == "holes":
            mask = (rng.random(shape) < 0.8).astype(np.int64)
        types = np.broadcast_to(np.arange(length) >= length // 2, shape).astype(np.int64)
        types = types * rng.integers(0, config.type_vocab_size, shape)
        ids = rng.integers(0, config.vocab_size, shape)
        batches.append({"input_ids": ids, "attention_mask": mask, "token_type_ids": types})
    return batches


Outputs = list[dict[str, np.ndarray]]


def reference_outputs(checkpoint: Checkpoint, inputs: Sequence[dict[str, np.ndarray]]) -> tuple[Outputs, float]:
    """The unfolded model's outputs in float64, and how far its own float32 is from them."""

    def outputs(model: heads.MobileBertPreTrainedModel) -> Outputs:
        results = []
        with paddle.no_grad(), dispatch.disabled():
            for batch in inputs:
                result = model(**{name: paddle.to_tensor(value) for name, value in batch.items()})
                results.append({name: result[name].numpy() for name in result.keys()})  # noqa: SIM118
        return results

    single = outputs(checkpoint.model)
    paddle.set_default_dtype("float64")
    try:
        model = type(checkpoint.model)(checkpoint.config)
    finally:
        paddle.set_default_dtype("float32")
    state = weights.model_state(checkpoint.model)
    for name, parameter in model.named_parameters():
        parameter.set_value(state[name].astype(np.float64))
    model.eval()
    double = outputs(model)
    if not all(np.isfinite(value).all() for outputs in double for value in outputs.values()):
        raise InputError(f"{checkpoint.folder}: its outputs are no finite numbers; did the training diverge?")
    rounding = max(_relative(single[i][name], double[i][name]) for i in range(len(inputs)) for name in double[i])
    return double, rounding


def check_fold(program: Program, inputs: Sequence[dict[str, np.ndarray]], truth: Outputs) -> None:
    """Refuse a program that is not the unfolded model.

    Raises:
        InputError: in float64, where rounding hides nothing, it computes something else.
    """
    for got, expected in zip(paddle_graph.compute(program, inputs, "float64"), truth, strict=True):
        for name, value in got.items():
            _require(_relative(value, expected[name]), LARGEST_FOLD_ERROR, f"the folded program's {name} in float64")


def largest_error(
    engine: Engine, names: Sequence[str], inputs: Sequence[dict[str, np.ndarray]], truth: Outputs
) -> float:
    """The largest error of an engine, relative to the largest value of its output."""
    errors = []
    for batch, expected in zip(inputs, truth, strict=True):
        for name, value in zip(names, engine.run(batch), strict=True):
            errors.append(_relative(value, expected[name]))
    return max(errors)


def measure(engine: Engine, samples: Samples) -> dict[str, float]:
    """The metrics of an engine on labelled text."""
    return samples.measure(engine.run)


def _relative(value: np.ndarray, expected: np.ndarray) -> float:
    if value.shape != expected.shape:
        raise ValueError(f"got {value.shape}, expected {expected.shape}")
    error = np.abs(value.astype(np.float64) - expected).max() / max(np.abs(expected).max(), 1e-30)
    return float(error) if np.isfinite(error) else float("inf")


def _require(error: float, limit: float, what: str) -> None:
    if not error <= limit:
        raise InputError(
            f"{what}: differs from the checkpoint by {error:.1e}, more than {limit:.1e}; nothing was written. "
            "This is a mistake of the exporter: please report it with the checkpoint's config.json"
        )


def _save_onnx(model: onnx.ModelProto, path: Path) -> None:
    onnx.checker.check_model(model)
    onnx.save(model, str(path))


@contextmanager
def _new_folder(folder: Path, sources: Sequence[str | None]) -> Iterator[Path]:
    """A temporary folder beside ``folder`` that takes its name when the block ends well."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    try:
        yield temporary
        temporary.chmod(0o755)
        check_replaceable(folder, sources)  # again: minutes have passed
        if folder.exists():
            old = temporary.with_name(temporary.name + ".old")
            os.replace(folder, old)
            os.replace(temporary, folder)
            shutil.rmtree(old)
        else:
            os.replace(temporary, folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
