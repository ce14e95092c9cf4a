"""The folder of a run: what the loop writes there, and how a run begins in one that is not empty."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mobilebert.base import outputs
from mobilebert.base.errors import InputError
from mobilebert.base.files import atomic_path
from mobilebert.train import checkpoint, guard, runlog
from mobilebert.train.hooks import Hooks

BEST = "best"

# All that the loop writes in its folder, and what of that the record of the folder names from the start.
_WORK = checkpoint.work_folders(BEST)
NAMES = (*runlog.NAMES, checkpoint.FOLDER, BEST, *_WORK, guard.BATCHES)
ENTRIES = (*runlog.ENTRIES, *checkpoint.ENTRIES, *_WORK, guard.BATCHES)


def prepare(output_dir: Path, overwrite: bool, copies: tuple[str, ...] = ()) -> None:
    """Make the folder ready for a fresh run.

    Args:
        output_dir: may be missing.
        overwrite: delete an earlier run: all that the folder's record names.
        copies: ``Hooks.copy_from_best``.

    Raises:
        InputError: it holds an earlier run, or files of somebody else where the run would write.
    """
    outputs.check(output_dir, (*NAMES, *copies))
    has_begun = checkpoint.steps_on_disk(output_dir) or runlog.has_records(output_dir / runlog.TRAIN_LOG)
    if not overwrite and (has_begun or (output_dir / BEST).exists()):
        raise InputError(
            f"{output_dir}: holds an earlier run; resume it (`resume`), overwrite it or choose another output folder"
        )
    outputs.remove(output_dir, None if overwrite else NAMES)
    outputs.record(output_dir, ENTRIES)


def prepare_to_resume(output_dir: Path, found: Path, copies: tuple[str, ...] = ()) -> None:
    """Make the folder ready for a run that goes on from the checkpoint ``found``.

    That is the run's own folder, also one from before there were records, or another one.

    Raises:
        InputError: files of somebody else are where the run would write.
    """
    checkpoint.recover_folder(output_dir / BEST)
    if not outputs.recorded(output_dir) and found.resolve().parent == (output_dir / checkpoint.FOLDER).resolve():
        if (output_dir / BEST).is_dir():
            outputs.record_folder(output_dir, BEST, output_dir / BEST)
    else:
        outputs.check(output_dir, (*NAMES, *copies))
    outputs.record(output_dir, ENTRIES)


def write_model(output_dir: Path, name: str, save: Callable[[Path], None]) -> None:
    """Let ``save`` write the folder ``name`` of ``output_dir``, whole or not at all, and note what it wrote.

    What somebody else put into a folder of that name stays in it.
    """

    def fill(folder: Path) -> None:
        save(folder)
        outputs.record_folder(output_dir, name, folder)
        outputs.copy_others(output_dir, name, folder)

    outputs.record(output_dir, checkpoint.work_folders(name))
    checkpoint.write_folder(output_dir / name, fill)


def write_best(output_dir: Path, hooks: Hooks, evaluation_outputs: Any) -> None:
    """Replace ``best`` by what ``hooks.save_best`` writes, then copy ``hooks.copy_from_best`` out of it."""
    if hooks.save_best is None:
        return
    save_best = hooks.save_best
    write_model(output_dir, BEST, lambda folder: save_best(folder, evaluation_outputs))
    for name in hooks.copy_from_best:
        source = output_dir / BEST / name
        if source.exists():
            outputs.record(output_dir, [name])
            with atomic_path(output_dir / name) as temporary:
                shutil.copyfile(source, temporary)
