"""From a checkpoint to a folder that runs without it: fold, write, check, measure, describe."""

import logging
import tempfile
from collections.abc import Mapping
from dataclasses import replace
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from mobilebert.base import digests, extras, outputs
from mobilebert.base.errors import InputError
from mobilebert.export import card, check, hub_layout
from mobilebert.export.checkpoint import Checkpoint, load_checkpoint
from mobilebert.export.fold import fold
from mobilebert.export.folder import new_folder
from mobilebert.export.plan import ExportPlan
from mobilebert.export.quantization import made_up_batches, quantize
from mobilebert.export.samples import Samples, read_samples
from mobilebert.export.targets import TARGETS, Target, native
from mobilebert.export.variant import Variant
from mobilebert.inference.engines import ENGINES, Engine
from mobilebert.inference.manifest import ONNX_OPSET, Manifest
from mobilebert.inference.source import reading_settings
from mobilebert.model import weights

__all__ = ["ExportPlan", "export"]

_log = logging.getLogger(__name__)

CALIBRATION_ROWS = 128


def export(plan: ExportPlan) -> Manifest:
    """Make the folder ``plan.out``; it appears complete or not at all.

    Raises:
        InputError: an unknown or damaged checkpoint, text of a wrong format, a file that does not compute what the
            checkpoint computes, a library that is not installed, or another process that writes the folder.
    """
    for module in (module for target in plan.targets for module in target.LIBRARIES):
        if find_spec(module) is None:
            raise extras.missing(module)
    if plan.format in ("all", native.NAME) and not ENGINES[native.ENGINE].is_available():
        if plan.format == native.NAME:
            raise InputError("`format=native` needs a C compiler (Debian and Ubuntu: apt install gcc)")
        _log.warning("no native engine: it needs a C compiler; all other formats are written")
        plan = replace(plan, without=(native.NAME,))
    with outputs.lock_beside(plan.out):
        checkpoint = load_checkpoint(plan.model, plan.head)
        if plan.format == "web":
            hub_layout.require_page(checkpoint.head, checkpoint.tokenizer)
        max_seq_length = _max_seq_length(plan, checkpoint)
        calibration = _read(plan.calibration, checkpoint, max_seq_length)
        evaluation = _read(plan.evaluation or plan.calibration, checkpoint, max_seq_length, plan.evaluation_limit)
        with new_folder(plan.out, plan.sources) as folder:
            made = _Export(plan, checkpoint, max_seq_length, folder)
            made.write(calibration, evaluation)
            return made.describe()


def _max_seq_length(plan: ExportPlan, checkpoint: Checkpoint) -> int:
    length, positions = plan.max_seq_length, checkpoint.config.max_position_embeddings
    length = length or reading_settings(checkpoint.config, checkpoint.head).max_seq_length
    if not 4 <= length <= positions:
        raise InputError(
            f"`max_seq_length={length}`: expected 4 to {positions} tokens, what the model has positions for"
        )
    return length


def _read(path: str | None, checkpoint: Checkpoint, max_seq_length: int, limit: int | None = None) -> Samples | None:
    if path is None:
        return None
    return read_samples(path, checkpoint.head, checkpoint.config, checkpoint.tokenizer, max_seq_length, limit)


class _Export:
    """A folder that is being written, and what is known of it so far."""

    def __init__(self, plan: ExportPlan, checkpoint: Checkpoint, max_seq_length: int, folder: Path):
        self.plan, self.checkpoint, self.folder = plan, checkpoint, folder
        self.max_seq_length = max_seq_length
        self.precision = hub_layout.main_precision(plan.arrangement, plan.quantize)
        self.state = weights.model_state(checkpoint.model)
        self.program = fold(checkpoint.config, self.state, checkpoint.head)
        self.exact = Variant(self.program, checkpoint=checkpoint, max_seq_length=max_seq_length)
        self.names = [output.name for output in self.program.outputs]
        self.engines: list[str] = []
        self.errors: dict[str, float] = {}
        self.metrics: dict[str, dict[str, float]] = {}

    def write(self, calibration: Samples | None, evaluation: Samples | None) -> None:
        """Write, check and measure every target, and the checkpoint itself where it is wanted."""
        checkpoint = self.checkpoint
        inputs = check.check_inputs(checkpoint.config, self.program.choices)
        reference = check.make_reference(checkpoint, inputs)
        check.check_fold(self.program, reference)
        plain = replace(self.exact, portable=self.plan.portable)
        for precision in hub_layout.precisions(self.plan.arrangement, self.plan.quantize):
            variant = self._variant(precision, calibration)
            for target in self.plan.targets:
                is_quantized = precision in target.QUANTIZATIONS
                target.write(variant if is_quantized else plain, self.folder)
                engine = target.load(self.folder, checkpoint.head, self.names)
                error = check.largest_error(engine, reference)
                # Fewer bits round as they must, but what they give are numbers.
                limit = np.finfo(np.float32).max if is_quantized else reference.limit
                check.require(error, limit, f"the {target.TITLE} file")
                if precision == self.precision:
                    self.engines.append(target.ENGINE)
                    self.errors[target.ENGINE] = error
                # Without a choice of precision there is nothing to compare.
                if target.QUANTIZATIONS and evaluation is not None and evaluation.can_measure:
                    self.metrics |= self._measure(target, engine, evaluation, precision)
                if self.plan.arrangement != "flat":
                    hub_layout.put(self.folder, precision)
        config = checkpoint.config
        if self.plan.arrangement != "flat":
            config = hub_layout.config_of(config, self.plan.arrangement)
            hub_layout.add_modules(self.folder, self.plan.arrangement)
        config.save_pretrained(self.folder)
        if self.plan.format == "all":
            checkpoint.model.save_pretrained(self.folder)
            self.engines.append("dygraph")
            self.errors["dygraph"] = reference.rounding
        checkpoint.tokenizer.save_pretrained(self.folder, self.max_seq_length)

    def _variant(self, precision: str | None, calibration: Samples | None) -> Variant | None:
        """The program in fewer bits, as ``--quantize`` names them."""
        if precision is None:
            return None
        if precision == "fp16":
            return replace(self.exact, half_weights=True, portable=self.plan.portable)
        if precision == "bf16":
            return replace(self.exact, bfloat16=True)
        exact = fold(self.checkpoint.config, self.state, self.checkpoint.head, divide=False)
        if precision == "dynamic-int8":
            batches = None
        elif calibration is not None:
            batches = calibration.batches(CALIBRATION_ROWS)
        else:
            batches = made_up_batches(self.checkpoint.config, self.program.choices)
        program, quantization = quantize(exact, batches)
        return replace(self.exact, program=program, quantization=quantization)

    def _measure(
        self, target: Target, engine: Engine, evaluation: Samples, precision: str | None
    ) -> Mapping[str, dict[str, float]]:
        """The metrics of float32, and of fewer bits where the engine has them."""
        if precision is None:
            return {} if evaluation.score is None else {"fp32": evaluation.measure(engine.run)[0]}
        with tempfile.TemporaryDirectory(dir=self.folder) as scratch:
            target.write(self.exact, Path(scratch))
            exact = target.load(Path(scratch), self.checkpoint.head, self.names)
            metrics = evaluation.measure(exact.run, engine.run)
        return dict(zip(("fp32", precision), metrics, strict=True))

    def describe(self) -> Manifest:
        """Write ``export.json`` and the card."""
        manifest = Manifest(
            head=self.checkpoint.head,
            outputs=self.names,
            engines=self.engines,
            quantization=self.precision,
            portable=self.plan.portable and "onnxruntime" in self.engines,
            opset=ONNX_OPSET,
            max_seq_length=self.max_seq_length,
            errors=self.errors,
            metrics=self.metrics,
            source_sha256=self.checkpoint.sha256,
            versions=_versions(),
            files=digests.describe(self.folder, self._files()),
            layout=self.plan.arrangement,
        )
        (self.folder / digests.TABLE).unlink()  # of which all is in export.json
        manifest.save(self.folder)
        card.write(self.folder, self.plan.out, manifest, self.checkpoint, self.program)
        return manifest

    def _files(self) -> list[str]:
        """What was written, without the table of a checkpoint's files, whose content goes over into the manifest."""
        names = (path.relative_to(self.folder).as_posix() for path in self.folder.rglob("*") if path.is_file())
        return sorted(name for name in names if name != digests.TABLE)


def _versions() -> dict[str, str]:
    """Of the targets' libraries that are installed."""
    libraries = {name: module for target in TARGETS.values() for module, name in target.LIBRARIES.items()}
    found = {}
    for name, module in libraries.items():
        if find_spec(module) is not None:
            try:
                found[name] = metadata.version(name)
            except metadata.PackageNotFoundError:  # another distribution brings it: paddlepaddle-gpu
                continue
    return found
