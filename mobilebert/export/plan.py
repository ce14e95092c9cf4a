"""What an export is asked to do."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mobilebert.base.errors import InputError
from mobilebert.export import hub_layout
from mobilebert.export.folder import check_replaceable
from mobilebert.export.targets import ALONE, TARGETS, Target, formats, quantizations


@dataclass(frozen=True)
class ExportPlan:
    """What to export, and how.

    Attributes:
        model: a checkpoint's folder or hub name.
        out: the folder to make.
        format: a key of ``targets.TARGETS``, ``"web"`` (ONNX, in a page) or ``"all"`` (all but ``targets.ALONE``,
            and the checkpoint itself for dygraph).
        layout: ``"flat"``, or ``"hub"`` for transformers.js, of ``"onnx"``.
        quantize: ``"int8"``, ``"dynamic-int8"``, ``"fp16"``, ``"bf16"`` or None; of the targets that can.
        calibration: text for int8's ranges, required by ONNX's ``"int8"``.
        evaluation: text with labels to measure on; None takes ``calibration``.
        evaluation_limit: questions or texts of it at most.
        head: a key of ``HEAD_CLASSES``; None takes what the checkpoint says it is.
        portable: write the ONNX file with the standard's operators only.
        max_seq_length: tokens; None takes what the model was trained with, or 384, or all positions of the model.
        force: replace ``out`` where it is an earlier export.
        without: formats that "all" leaves out.
    """

    model: str
    out: Path
    format: str = "onnx"
    layout: str = "flat"
    quantize: str | None = None
    calibration: str | None = None
    evaluation: str | None = None
    evaluation_limit: int | None = None
    head: str | None = None
    portable: bool = False
    max_seq_length: int | None = None
    force: bool = False
    without: tuple[str, ...] = ()

    def __post_init__(self):
        if self.format not in formats():
            raise InputError(f"`format={self.format}`: expected one of {', '.join(formats())}")
        if self.layout not in hub_layout.LAYOUTS:
            raise InputError(f"`layout={self.layout}`: expected one of {', '.join(hub_layout.LAYOUTS)}")
        if self.layout == "hub" and self.format != "onnx":
            raise InputError(f"`layout=hub` is of `format=onnx`, and `format={self.format}` was asked for; drop one")
        if self.arrangement != "flat" and self.portable:
            raise InputError("`portable` has no int8, which a browser takes; drop `portable`")
        if self.format == "web" and self.quantize == "fp16":
            raise InputError("`format=web` has an int8 model; use `quantize=dynamic-int8` or int8, or leave it out")
        if self.quantize is not None:
            self._check_quantization(self.quantize)
        if self.calibration is not None and self.quantize != "int8":
            raise InputError("`calibration` is read by `quantize=int8` only; to measure, use `evaluation`")
        if os.path.lexists(self.out) and not self.force:
            raise InputError(f"{self.out} exists; choose another folder, or `force` to replace it")
        check_replaceable(self.out, self.sources)

    def _check_quantization(self, quantize: str) -> None:
        if quantize not in quantizations():
            raise InputError(f"`quantize={quantize}`: expected one of {', '.join(quantizations())}")
        if not any(quantize in target.QUANTIZATIONS for target in self.targets):
            able = [target for target in TARGETS.values() if quantize in target.QUANTIZATIONS]
            titles = " or ".join(target.TITLE for target in able)
            names = " or ".join(target.NAME for target in able)
            raise InputError(f"`quantize={quantize}` is for {titles}; use `format={names}` or all")
        if "int8" in quantize and self.portable:
            raise InputError("`portable` has no int8: its fast products are ONNX Runtime's own operators; drop one")
        needs_text = any(target.NAME == "onnx" for target in self.targets)
        if quantize == "int8" and self.calibration is None and needs_text:
            raise InputError(
                "`quantize=int8` needs `calibration=FILE` (or use dynamic-int8 or `format=native`, which need none)"
            )

    @property
    def arrangement(self) -> str:
        """The layout, or ``"web"``."""
        return "web" if self.format == "web" else self.layout

    @property
    def targets(self) -> list[Target]:
        """The formats to write."""
        if self.format != "all":
            return [TARGETS["onnx" if self.format == "web" else self.format]]
        return [target for name, target in TARGETS.items() if name not in (*ALONE, *self.without)]

    @property
    def sources(self) -> Sequence[str]:
        """The files and folders that are read; a name may be the hub's."""
        return [source for source in (self.model, self.calibration, self.evaluation) if source is not None]
