"""The native engine's kernels for aarch64, cross-compiled and run under an emulator, against this machine's."""

import os
import shutil
import subprocess

import numpy as np
import pytest
from support.native import PRECISIONS, write_model

from mobilebert.native_engine import build

SOURCE = build.FOLDER / "test" / "engine_test.c"
# int8: a value at the edge of two steps may round to either, where a product of floats before it was summed otherwise.
LIMITS = {"float32": 1e-5, "bf16": 1e-2, "int8": 1e-2}


def outputs(program, path, kernels, *emulator) -> np.ndarray:
    environment = {**os.environ, "MOBILEBERT_KERNELS": kernels}
    done = subprocess.run(
        [*emulator, program, "run", path], capture_output=True, text=True, env=environment, check=True, timeout=300
    )
    assert done.stderr.strip() == kernels
    return np.array(done.stdout.split(), float)


def test_kernels_of_aarch64(tmp_path):
    compiler, emulator = shutil.which("aarch64-linux-gnu-gcc"), shutil.which("qemu-aarch64")
    if compiler is None or emulator is None or shutil.which("cc") is None:
        pytest.skip("needs gcc-aarch64-linux-gnu and qemu-user (Debian's names), and cc")
    (tmp_path / "here").mkdir()
    here = build.build_program("cc", tmp_path / "here", SOURCE, ("-O1",))
    there = build.build_program(compiler, tmp_path, SOURCE, ("-static",), "aarch64")
    for precision in PRECISIONS:
        path = write_model(tmp_path, precision)
        expected = outputs(here, path, "portable")
        for kernels in ("portable", *build.KERNELS["aarch64"]):
            found = outputs(there, path, kernels, emulator, "-cpu", "max")
            assert np.abs(found - expected).max() < LIMITS[precision] * np.abs(expected).max(), (precision, kernels)
        other = outputs(here, write_model(tmp_path, precision, num_feedforward_networks=1), "portable")
        assert np.abs(other - expected).max() > 10 * LIMITS[precision] * np.abs(expected).max()
