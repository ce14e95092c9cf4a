"""The library of csrc/, called through ctypes: csrc/mobilebert.h is the contract.

B texts   n tokens of all texts
"""

import ctypes
import functools
import os
import subprocess
import weakref
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mobilebert.base.errors import InputError, first_line
from mobilebert.native_engine import build

_ERROR_SIZE = 512
_Ints = np.ctypeslib.ndpointer(np.int32, flags="C")


class _Output(ctypes.Structure):
    _fields_ = [("name", ctypes.c_char_p), ("columns", ctypes.c_int), ("per_token", ctypes.c_int)]


class _Options(ctypes.Structure):
    _fields_ = [("mask", ctypes.c_void_p), ("behind", ctypes.c_void_p)]


@dataclass(frozen=True)
class Output:
    """A result of a model: ``columns`` numbers for each token, or for each text."""

    name: str
    columns: int
    per_token: bool


@functools.lru_cache(maxsize=1)
def library() -> ctypes.CDLL:
    """The library, built at the first call.

    Raises:
        InputError: it cannot be built.
    """
    try:
        loaded = build.load_or_build()
    except (OSError, subprocess.SubprocessError) as error:
        raise InputError(f"the native engine cannot be built: {first_line(error)}; use another `engine`") from None
    model, text = ctypes.c_void_p, ctypes.c_char_p
    loaded.mb_open.argtypes = [text, ctypes.c_int, ctypes.POINTER(model), text]
    loaded.mb_run.argtypes = [
        model, ctypes.c_int, _Ints, _Ints, _Ints, ctypes.POINTER(_Options), ctypes.POINTER(ctypes.c_void_p), text
    ]  # fmt: skip
    loaded.mb_close.argtypes, loaded.mb_close.restype = [model], None
    loaded.mb_output_at.argtypes, loaded.mb_output_at.restype = [model, ctypes.c_int], _Output
    for function in (loaded.mb_outputs, loaded.mb_longest, loaded.mb_threads, loaded.mb_kernels_name):
        function.argtypes = [model]
    loaded.mb_kernels_name.restype = text
    loaded.mb_kernels_at.argtypes, loaded.mb_kernels_at.restype = [ctypes.c_int], text
    return loaded


def kernel_sets() -> list[str]:
    """The instruction sets that ``MOBILEBERT_KERNELS`` may name on this machine, best first."""
    names: list[str] = []
    while (name := library().mb_kernels_at(len(names))) is not None:
        names.append(name.decode())
    return names


class NativeModel:
    """A model that is open. Safe to use from several threads, which wait for each other.

    Args:
        path: what ``export.py --format native`` wrote.
        threads: None takes one for each processor.

    Attributes:
        outputs: what ``run`` gives, in its order.
        kernels: the instruction set that it computes with, such as ``"vnni"``.

    Raises:
        InputError: a file that is not such a model, or no library.
    """

    def __init__(self, path: str | os.PathLike, threads: int | None = None):
        self._library = library()
        self._model = ctypes.c_void_p()
        error = ctypes.create_string_buffer(_ERROR_SIZE)
        name = os.fsencode(Path(path))
        if self._library.mb_open(name, threads or 0, ctypes.byref(self._model), error):
            raise InputError(f"{path}: {_text(error)}")
        closing = weakref.finalize(self, self._library.mb_close, self._model)
        closing.atexit = False  # a daemon thread may be running it then
        shown = [self._library.mb_output_at(self._model, i) for i in range(self._library.mb_outputs(self._model))]
        self.outputs = [Output(one.name.decode(), one.columns, bool(one.per_token)) for one in shown]
        self.kernels = self._library.mb_kernels_name(self._model).decode()

    def run(
        self,
        lengths: np.ndarray,
        ids: np.ndarray,
        types: np.ndarray,
        mask: np.ndarray | None = None,
        behind: np.ndarray | None = None,
    ) -> list[np.ndarray]:
        """Run texts that stand one behind the other.

        Args:
            lengths: [B] tokens of each.
            ids, types: [n].
            mask: [n] bool: False where no other token sees this one; None sees all.
            behind: [B] the id that stands behind each text, where it was cut out of a padded row; -1 for none.

        Returns:
            Of each output float32 [n, columns] or [B, columns].

        Raises:
            InputError: what the model has no row for.
            ValueError: arrays of other sizes.
        """
        lengths, ids, types = (np.ascontiguousarray(array, np.int32) for array in (lengths, ids, types))
        tokens = (int(lengths.sum(dtype=np.int64)),)
        shapes = {"ids": tokens, "types": tokens, "mask": tokens, "behind": lengths.shape}
        for (name, shape), array in zip(shapes.items(), (ids, types, mask, behind), strict=True):
            if array is not None and array.shape != shape:  # the library reads as many as `lengths` says
                raise ValueError(f"{name}: of shape {array.shape}, not {shape}")
        seen = None if mask is None else np.ascontiguousarray(mask, np.uint8)
        after = None if behind is None else np.ascontiguousarray(behind, np.int32)
        options = _Options(*(None if array is None else array.ctypes.data for array in (seen, after)))
        rows = {True: len(ids), False: len(lengths)}
        results = [np.empty((rows[output.per_token], output.columns), np.float32) for output in self.outputs]
        pointers = (ctypes.c_void_p * len(results))(*(result.ctypes.data for result in results))
        error = ctypes.create_string_buffer(_ERROR_SIZE)
        if self._library.mb_run(self._model, len(lengths), lengths, ids, types, ctypes.byref(options), pointers, error):
            raise InputError(_text(error))
        return results


def _text(error: "ctypes.Array[ctypes.c_char]") -> str:
    return error.value.decode(errors="replace")
