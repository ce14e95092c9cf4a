"""Checkpoints that survive ``kill -9`` at any moment.

    checkpoints/step_00000240/   model.safetensors  optimizer.safetensors  state.json  manifest.json

A folder is filled under a hidden name, flushed to disk, and renamed; so what carries the right name is complete.
``manifest.json`` (``base.digests``) tells a damaged disk or copy from a good one.
"""

import os
import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file
from safetensors.numpy import save as to_bytes

from mobilebert.base import digests, interrupt
from mobilebert.base.errors import InputError, first_line
from mobilebert.base.files import flush, naming, read_json, regular, write_json

FOLDER = "checkpoints"
_STEP = "step_" + 8 * "[0-9]"  # as a pattern of glob, which leaves alone what others name alike
_LEFTOVERS = f".{_STEP}.*"
# For the record of the output folder.
ENTRIES = (f"{FOLDER}/{_STEP}", f"{FOLDER}/{_STEP}.damaged", f"{FOLDER}/{_LEFTOVERS}")
_NAME = re.compile(r"step_(\d{8,})")
_FLOATS = ("float16", "bfloat16", "float32", "float64")
_WRITTEN = {"model.safetensors", "optimizer.safetensors", "state.json"}


@dataclass
class Checkpoint:
    """Contents of one checkpoint.

    Attributes:
        model: arrays by the model's own names.
        optimizer: arrays as ``optim.optimizer_arrays`` gives them.
        state: everything else, plain JSON values; ``state["progress"]["step"]`` is its step.
    """

    model: dict[str, np.ndarray]
    optimizer: dict[str, np.ndarray]
    state: dict[str, Any]


def save(output_dir: Path, step: int, checkpoint: Checkpoint, keep: int) -> Path:
    """Write a checkpoint and delete all but the ``keep`` newest. Returns its folder."""

    def fill(folder: Path) -> None:
        # Not save_file: its error of a full disk is not the system's, and its files are for their owner alone.
        (folder / "model.safetensors").write_bytes(to_bytes(checkpoint.model))
        (folder / "optimizer.safetensors").write_bytes(to_bytes(checkpoint.optimizer))
        write_json(folder / "state.json", checkpoint.state, indent=None)
        write_json(folder / digests.TABLE, {"step": step, "files": digests.describe(folder)})

    root = output_dir / FOLDER
    folder = root / f"step_{step:08d}"
    write_folder(folder, fill)
    for old in steps_on_disk(output_dir)[:-keep]:
        # Renamed first: a deletion cut short must not look like a checkpoint.
        os.rename(root / f"step_{old:08d}", root / f".step_{old:08d}.trash")
    for leftover in root.glob(_LEFTOVERS):
        shutil.rmtree(leftover, ignore_errors=True)
    return folder


def steps_on_disk(output_dir: Path) -> list[int]:
    """Steps of the checkpoints under ``output_dir``, ascending."""
    root = output_dir / FOLDER
    names = [_NAME.fullmatch(p.name) for p in root.iterdir()] if root.is_dir() else []
    return sorted(int(name[1]) for name in names if name)


def verify(folder: Path) -> Path:
    """Check every file of a checkpoint against its manifest; returns ``folder``.

    Raises:
        InputError: not a checkpoint, or a file of it is missing or not what was written.
    """
    if not folder.is_dir():
        raise InputError(f"{folder}: no such checkpoint folder")
    try:
        table = digests.read(folder / digests.TABLE)
        if table.keys() != _WRITTEN:
            listed = ", ".join(table) or "nothing"
            raise InputError(f"{digests.TABLE} lists {listed} instead of {', '.join(sorted(_WRITTEN))}")
        for name, facts in table.items():
            if difference := facts.difference(folder / name):
                raise InputError(f"{name} {difference}")
    except InputError as error:
        raise InputError(f"{folder}: damaged checkpoint ({error})") from None
    return folder


def load(folder: Path) -> Checkpoint:
    """Read a verified checkpoint.

    Raises:
        InputError: arrays of a type that NumPy lacks, or an optimizer's state that is no floating-point numbers.
    """
    optimizer = _read_arrays(folder / "optimizer.safetensors")
    for name, array in optimizer.items():
        if type_name(array) not in _FLOATS:
            raise InputError(
                f"{folder / 'optimizer.safetensors'}: {name} is {type_name(array)}, but an optimizer's state is "
                f"{', '.join(_FLOATS)}; resume from another checkpoint"
            )
    return Checkpoint(_read_arrays(folder / "model.safetensors"), optimizer, read_json(folder / "state.json"))


def type_name(array: np.ndarray) -> str:
    """The type of an array that came from a tensor: Paddle has no uint16, its bfloat16 becomes that in NumPy."""
    return "bfloat16" if array.dtype == np.uint16 else array.dtype.name


def _read_arrays(path: Path) -> dict[str, np.ndarray]:
    regular(path)
    try:
        arrays = load_file(path)
    except (SafetensorError, AttributeError, KeyError, TypeError, ValueError) as error:
        raise InputError(
            f"{path}: holds what NumPy cannot read ({first_line(error)}); resume from another checkpoint"
        ) from None
    # Once anything has imported ml_dtypes, as onnx does, the library gives arrays of its types.
    for name, array in arrays.items():
        if array.dtype.isbuiltin != 1:
            raise InputError(f"{path}: {name} is {array.dtype}, which NumPy lacks; resume from another checkpoint")
    return arrays


def find(output_dir: Path, resume: str | os.PathLike, fallback: bool, report: Callable[[str], None]) -> Path:
    """Folder of the checkpoint that ``resume`` asks for, verified.

    Args:
        output_dir: of the run.
        resume: ``"latest"`` or a checkpoint's folder.
        fallback: with ``"latest"``, set a damaged one aside as ``*.damaged`` and try the one before it.
        report: called with one line for each damaged checkpoint that is set aside.

    Raises:
        InputError: there is none, or it is damaged.
    """
    if str(resume) != "latest":
        return verify(Path(resume))
    steps = steps_on_disk(output_dir)
    if not steps:
        raise InputError(f"{output_dir / FOLDER}: no checkpoint to resume from; start without `resume`")
    while True:
        folder = output_dir / FOLDER / f"step_{steps.pop():08d}"
        try:
            return verify(folder)
        except InputError as error:
            if not steps:
                raise InputError(f"{error}; there is no other checkpoint to resume from") from None
            if not fallback:
                raise InputError(f"{error}; `resume_fallback` resumes from step {steps[-1]} instead") from None
            report(f"warning: {error}; set aside as {folder.name}.damaged, trying step {steps[-1]}")
            aside = folder.with_name(folder.name + ".damaged")
            shutil.rmtree(aside, ignore_errors=True)
            os.rename(folder, aside)


def write_folder(folder: Path, fill: Callable[[Path], None]) -> None:
    """Let ``fill`` write a new folder, then put it in the place of ``folder``, whole or not at all.

    A process killed between the two renames leaves the old one under a hidden name; ``recover_folder`` puts it back.
    """
    recover_folder(folder)
    new, old = (folder.with_name(name) for name in work_folders(folder.name))
    with interrupt.cleaning(lambda: shutil.rmtree(new, ignore_errors=True)), naming(folder):
        shutil.rmtree(new, ignore_errors=True)
        new.mkdir(parents=True)
        fill(new)
        for path in [*new.rglob("*"), new]:
            flush(path)
        with interrupt.held():
            if folder.exists():
                os.rename(folder, old)
            os.rename(new, folder)
        flush(folder.parent)
        shutil.rmtree(old, ignore_errors=True)


def work_folders(name: str) -> tuple[str, str]:
    """The hidden names that ``write_folder`` uses beside a folder ``name``: of the new one and of the old one."""
    return f".{name}.new", f".{name}.old"


def recover_folder(folder: Path) -> None:
    """Finish or undo a ``write_folder`` that was cut short."""
    old = folder.with_name(work_folders(folder.name)[1])
    if old.exists() and not folder.exists():
        os.rename(old, folder)
    shutil.rmtree(old, ignore_errors=True)
