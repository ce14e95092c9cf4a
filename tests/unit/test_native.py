"""The encoder layer in C against modeling.py in float64, against reference.py, and when it stands back."""

import ctypes
import errno
import os
import shutil
import stat
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import paddle
import pytest
from support.models import FAST_PATH_CASES, FAST_PATH_SIZES, make_batch

from mobilebert.accel import build, dispatch, native
from mobilebert.base import c_library
from mobilebert.model.config import MobileBertConfig
from mobilebert.model.modeling import MobileBertModel

ROOT = Path(__file__).parents[2]
needs_compiler = pytest.mark.skipif(shutil.which("cc") is None, reason="no C compiler")
needs_library = pytest.mark.skipif(native.library() is None, reason="no C compiler, or no MKL in this Paddle")


@pytest.fixture(autouse=True)
def _restore():
    yield
    dispatch.set_enabled(True)
    paddle.set_default_dtype("float32")


def make_models(**changes):
    """-> the same weights in float32 and float64."""
    models = []
    for dtype in ("float32", "float64"):
        paddle.set_default_dtype(dtype)
        model = MobileBertModel(MobileBertConfig(**{**FAST_PATH_SIZES, **changes}))
        generator = np.random.default_rng(3)
        for name, parameter in model.named_parameters():
            array = 0.15 * generator.standard_normal(parameter.shape)
            array += 1.0 if name.endswith("LayerNorm.weight") else 0.0
            parameter.set_value(array.astype("float32").astype(dtype))
        model.train()
        models.append(model)
    return models


def run(model, ids, mask):
    """-> hidden states [B, S, H], gradients by name."""
    model.clear_gradients(set_to_zero=False)
    hidden = model(ids, attention_mask=mask).last_hidden_state
    weights = paddle.cos(paddle.arange(hidden.size).astype(hidden.dtype)).reshape(hidden.shape)
    (hidden * weights).sum().backward()
    return hidden.numpy(), {name: p.grad.numpy() for name, p in model.named_parameters() if p.grad is not None}


def worst_difference(result, expected):
    """Largest difference of the output or a gradient, relative to its largest; some are mathematically zero."""
    (hidden, gradients), (expected_hidden, expected_gradients) = result, expected
    assert gradients.keys() == expected_gradients.keys()
    floor = 1e-3 * max(np.abs(g).max() for g in expected_gradients.values())
    differences = [np.abs(hidden - expected_hidden).max() / np.abs(expected_hidden).max()]
    for name, gradient in expected_gradients.items():
        differences.append(np.abs(gradients[name] - gradient).max() / max(np.abs(gradient).max(), floor))
    return max(differences)


def errors(changes, ids, mask):
    """Errors of the C layer and of the reference in float32, both against the reference in float64."""
    single, double = make_models(**changes)
    with dispatch.disabled():
        exact, reference = run(double, ids, mask), run(single, ids, mask)
    return worst_difference(run(single, ids, mask), exact), worst_difference(reference, exact)


@needs_library
@pytest.mark.parametrize("changes", FAST_PATH_CASES.values(), ids=FAST_PATH_CASES.keys())
def test_output_and_every_gradient(changes):
    error, reference_error = errors(changes, *make_batch())
    assert error <= max(10 * reference_error, 5e-6)
    assert error <= 1e-3


@needs_library
@pytest.mark.parametrize(
    "length, masked", [(1, (1,)), (2, (2, 1)), (127, (127, 31, 5)), (129, (129, 100)), (300, (300, 299, 0, 128, 17))]
)
def test_lengths_on_both_sides_of_a_tile(length, masked):
    error, reference_error = errors({}, *make_batch(length, masked))
    assert error <= max(10 * reference_error, 5e-6)


@needs_library
@pytest.mark.parametrize("shape", [None, (3, 4, 13, 13), (3, 1, 13, 13), (1, 1, 1, 13), (3, 13)])
def test_shapes_of_the_mask(shape):
    ids, _ = make_batch()
    mask = None if shape is None else paddle.to_tensor(np.random.default_rng(1).integers(0, 2, shape))
    error, reference_error = errors({}, ids, mask)
    assert error <= max(10 * reference_error, 5e-6)


@needs_library
@pytest.mark.parametrize("threads", [1, 2, 3, 7])
def test_any_number_of_threads(threads):
    openmp = ctypes.CDLL(str(build.paddle_library("libiomp5.so")))
    before = openmp.omp_get_max_threads()
    try:
        openmp.omp_set_num_threads(threads)
        for batch in (make_batch(1, (1,)), make_batch(5, (5, 3)), make_batch(140, (140, 9))):
            error, reference_error = errors({}, *batch)
            assert error <= max(10 * reference_error, 5e-6)
    finally:
        openmp.omp_set_num_threads(before)


@needs_library
def test_scores_far_beyond_the_exponential():
    single, double = make_models()
    for model in (single, double):
        query = model.encoder.layer[1].attention.self.query
        query.weight.set_value(query.weight * 300)
    ids, mask = make_batch()
    with dispatch.disabled():
        exact, reference = run(double, ids, mask), run(single, ids, mask)
    result = run(single, ids, mask)
    assert np.isfinite(result[0]).all()
    assert worst_difference(result, exact) <= max(10 * worst_difference(reference, exact), 5e-6)


@needs_library
@pytest.mark.parametrize("same_seed", [True, False])
def test_dropout_is_that_of_the_python_path(monkeypatch, same_seed):
    model, _ = make_models(attention_probs_dropout_prob=0.2, hidden_dropout_prob=0.3)
    batch = make_batch(40, (40, 33))
    paddle.seed(5)
    result = run(model, *batch)
    monkeypatch.setattr(native, "library", lambda: None)
    paddle.seed(5 if same_seed else 6)
    difference = worst_difference(result, run(model, *batch))
    assert difference < 1e-4 if same_seed else difference > 0.01


@needs_library
def test_the_same_numbers_at_every_call():
    model, _ = make_models(attention_probs_dropout_prob=0.1)
    batch = make_batch(150, (150, 20))
    results = []
    for _ in range(2):
        paddle.seed(1)
        results.append(run(model, *batch))
    assert np.array_equal(results[0][0], results[1][0])
    assert all(np.array_equal(gradient, results[1][1][name]) for name, gradient in results[0][1].items())


@needs_library
def test_what_is_not_a_number_stays_that():
    model, _ = make_models()
    bias = model.encoder.layer[0].ffn[0].intermediate.dense.bias
    bias.set_value(np.where(np.arange(bias.size) == 3, np.nan, bias.numpy()))
    hidden, gradients = run(model, *make_batch())
    assert np.isnan(hidden).all()
    assert np.isnan(gradients["encoder.layer.1.output.dense.weight"]).any()


@needs_library
def test_several_python_threads_at_once():
    model, _ = make_models()
    model.eval()
    batches = [make_batch(length, (length, length // 2)) for length in (20, 140, 33, 60) * 3]

    def hidden(batch):
        with paddle.no_grad():
            return model(batch[0], attention_mask=batch[1]).last_hidden_state.numpy()

    expected = [hidden(batch) for batch in batches]
    with ThreadPoolExecutor(4) as pool:
        for left, right in zip(pool.map(hidden, batches), expected, strict=True):
            np.testing.assert_allclose(left, right, rtol=1e-5, atol=1e-5)


@needs_library
def test_float64_and_many_networks_stay_in_python(monkeypatch):
    monkeypatch.setattr(native, "forward", lambda *_: pytest.fail("the C layer must not be taken"))
    for model in (make_models()[1], make_models(num_feedforward_networks=native.MAX_NETWORKS + 1)[0]):
        model(make_batch()[0])


@needs_library
def copy_of_sources(folder, old, new):
    """The C sources with one change."""
    shutil.copytree(build.FOLDER, folder)
    path = next(path for path in folder.glob("*.[ch]") if old in path.read_text())
    path.write_text(path.read_text().replace(old, new))
    return folder


@needs_library
def test_wrong_gradients_would_be_noticed(tmp_path, monkeypatch):
    wrong = copy_of_sources(tmp_path / "csrc", "d_scale[j] += raw[j] * weight[j];", "d_scale[j] += raw[j] * weight[0];")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(build, "FOLDER", wrong)
    compiled = native.bind(build.load_or_build())
    monkeypatch.setattr(native, "library", lambda: compiled)
    assert errors({}, *make_batch())[0] > 0.01


BREAKS = {
    "none": ("attention.h", "", ""),
    "a gradient": ("rows.h", "d_scale[j] += raw[j] * weight[j];", "d_scale[j] += raw[j] * weight[0];"),
    "the output": ("rows.h", "y[j] = v < 0 ? 0 : v;", "y[j] = v;"),
    "a tile's end": ("parts.h", "thread * mine * size, tokens), end", "thread * mine * size, tokens - 1), end"),
}


@needs_compiler
@pytest.mark.slow
@pytest.mark.parametrize("broken", BREAKS)
def test_the_c_program_passes_and_finds_what_is_broken(broken, tmp_path):
    name, old, new = BREAKS[broken]
    csrc = shutil.copytree(build.FOLDER, tmp_path / "csrc")
    text = (csrc / name).read_text()
    assert old in text
    (csrc / name).write_text(text.replace(old, new))
    done = subprocess.run(["bash", ROOT / "scripts" / "test_c.sh", csrc], capture_output=True, text=True)
    passes = broken == "none"
    assert (done.returncode == 0) is passes, done.stdout + done.stderr
    assert ("FAILED" in done.stdout) is not passes


MISMATCH = {
    "version": ("#define MB_ABI_VERSION 1", "#define MB_ABI_VERSION 2", "ABI version 2"),
    "size": ("float scaling;", "double scaling;", "native.py expects version 1 and"),
}


@needs_compiler
@pytest.mark.parametrize("what", MISMATCH)
def test_sources_of_another_version_are_not_called(what, tmp_path, monkeypatch, capfd):
    old, new, printed = MISMATCH[what]
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.delenv("MOBILEBERT_QUIET", raising=False)
    monkeypatch.setattr(build, "FOLDER", copy_of_sources(tmp_path / "csrc", old, new))
    library = native.library.__wrapped__  # without what this process has found before
    assert library() is None
    lines = [line for line in capfd.readouterr().err.splitlines() if "not in C" in line]
    assert len(lines) == 1 and printed in lines[0]
    monkeypatch.setattr(build, "FOLDER", ROOT / "mobilebert" / "accel" / "csrc")
    assert library() is not None


@needs_library
@pytest.mark.parametrize("name", ["layer_train.c", "mobilebert.h", "rows.h"])
def test_a_change_in_any_source_is_compiled(name, tmp_path, monkeypatch, cache, capfd):
    assert load(capfd) and not load(capfd)
    csrc = shutil.copytree(build.FOLDER, tmp_path / "csrc")
    monkeypatch.setattr(build, "FOLDER", csrc)
    assert not load(capfd)
    (csrc / name).write_text((csrc / name).read_text() + "/* changed */\n")
    assert load(capfd) and not load(capfd)


EMPTY = """
import sys
import paddle
from mobilebert.accel import native
batch, length = map(int, sys.argv[1:])
sizes = dict(hidden=8, width=4, intermediate=4, heads=2, networks=1, attention_keep=1, hidden_keep=1)
layer = native.Layer(batch, length, reads_shared=1, **sizes)
h, d = 8, 4
shapes = [(h, d), (d,), (d,), (d,)] * 2 + [(d, d), (d,)] * 2 + [(h, d), (d,)] + [(d, d), (d,), (d,), (d,)]
shapes += [(d, 4), (4,), (4, d), (d,), (d,), (d,), (d, h), (h,), (h,), (h,)]
parameters = [paddle.ones(shape) for shape in shapes]
hidden = paddle.ones([batch, length, h])
output = paddle.empty_like(hidden)
saved = native.forward(layer, hidden, parameters, output)
d_hidden, gradients = native.backward(layer, hidden, parameters, saved, output)
assert d_hidden.shape == hidden.shape
print([g.shape for g in gradients] == [p.shape for p in parameters], sum(float(g.abs().sum()) for g in gradients))
"""


@needs_library
@pytest.mark.parametrize("shape, zero", [((0, 5), True), ((2, 0), True), ((0, 0), True), ((2, 5), False)])
def test_no_tokens_end_nothing_and_change_nothing(shape, zero):
    """In a process of its own: a division by zero in C would end this one. The last shape is the control."""
    command = [sys.executable, "-c", EMPTY, *map(str, shape)]
    environment = {**os.environ, "PYTHONPATH": str(Path(native.__file__).parents[2])}
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, (done.returncode, done.stderr)
    shapes_agree, total = done.stdout.split()[-2:]
    assert shapes_agree == "True" and (float(total) == 0) == zero


def run_python(tmp_path, **environment):
    """A process of its own: the library is looked for once. -> its log and whether the C layer is there."""
    code = "from mobilebert.accel import native; print(native.library() is not None)"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={"HOME": str(tmp_path), "PYTHONPATH": str(Path(native.__file__).parents[2]), **environment},
        check=True,
        capture_output=True,
        text=True,
    )
    return done.stderr, done.stdout.split()[-1] == "True"


@needs_library
def test_built_once_and_found_again(tmp_path):
    path = "/usr/bin:/bin"
    log, there = run_python(tmp_path, PATH=path)
    assert there and "compiled layer_train" in log
    built = list((tmp_path / ".cache" / "mobilebert").iterdir())
    assert len(built) == 1 and built[0].suffix == ".so"
    log, there = run_python(tmp_path, PATH=path)
    assert there and "compiled" not in log
    os.truncate(built[0], built[0].stat().st_size // 2)  # as it stands: a loader that maps it dies of SIGBUS
    log, there = run_python(tmp_path, PATH=path)
    assert there and "compiled layer_train" in log
    log, there = run_python(tmp_path, PATH=path)
    assert there and "compiled" not in log


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """A sound file, as the layer lies in the cache."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        build.load_or_build()
        (path,) = c_library.private_cache("layer_train").iterdir()
    return path


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """An empty cache folder, and a folder of its own for what is temporary."""
    monkeypatch.delenv("MOBILEBERT_QUIET", raising=False)  # the tests read what was compiled
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    folder = tmp_path / "mobilebert"
    folder.mkdir(mode=0o700)
    yield folder
    assert list((tmp_path / "temporary").iterdir()) == []


def load(capfd) -> bool:
    """Load the layer; -> whether it was compiled for that."""
    capfd.readouterr()
    assert build.load_or_build().mb_layer_forward
    return "compiled layer_train" in capfd.readouterr().err


def link(path):
    path.rename(path.with_name("other"))
    path.symlink_to("other")


DAMAGE = {
    "none": lambda path: None,
    "truncated": lambda path: os.truncate(path, path.stat().st_size - 1),
    "empty": lambda path: os.truncate(path, 0),
    "longer": lambda path: path.write_bytes(path.read_bytes() + b"x"),
    "one bit": lambda path: path.write_bytes(path.read_bytes().replace(b"backward", b"cackward", 1)),
    "a link": link,
    "all may write": lambda path: path.chmod(0o602),
    "its group may write": lambda path: path.chmod(0o620),
}


@needs_library
@pytest.mark.parametrize("damage", DAMAGE)
def test_a_file_that_is_not_as_it_was_built_is_built_anew(damage, built, cache, capfd):
    path = Path(shutil.copy(built, cache))
    DAMAGE[damage](path)
    assert load(capfd) == (damage != "none")
    (found,) = cache.glob("layer_train-*")
    assert c_library.is_sound(found) and found.stat().st_mode & 0o777 == 0o600
    assert not load(capfd)


@needs_library
def test_a_folder_that_others_could_write_to_loses_that_and_its_files(built, cache, capfd):
    shutil.copy(built, cache)
    cache.chmod(0o775)  # umask 002
    assert load(capfd)
    assert cache.stat().st_mode & 0o777 == 0o755
    assert not load(capfd)


def raise_(error):
    raise error


def somebody_elses(cache, monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)


def linked(cache, monkeypatch):
    cache.rename(cache.parent / "elsewhere")
    cache.symlink_to(cache.parent / "elsewhere")


def in_a_folder_of_all(cache, monkeypatch):
    cache.parent.chmod(0o777)


def not_to_be_made(cache, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", "/dev/null")


def no_home(cache, monkeypatch):
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setattr(Path, "home", lambda: raise_(RuntimeError("Could not determine home directory.")))


def full(cache, monkeypatch):
    (found,) = cache.iterdir()
    found.rename(cache / "another")
    monkeypatch.setattr(shutil, "copyfile", lambda *_: raise_(OSError(errno.ENOSPC, "No space left on device")))


UNUSABLE = (somebody_elses, linked, in_a_folder_of_all, not_to_be_made, no_home, full)


@needs_library
@pytest.mark.parametrize("case", UNUSABLE, ids=lambda case: case.__name__)
def test_without_a_folder_of_its_own_a_process_builds_for_itself(case, built, cache, monkeypatch, capfd):
    shutil.copy(built, cache)  # it would do, were it not for where it lies
    case(cache, monkeypatch)
    assert load(capfd) and load(capfd)
    assert len(list(cache.iterdir())) == 1


@needs_library
def test_a_new_folder_is_this_users_alone(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "new"))
    before = os.umask(0o002)
    try:
        build.load_or_build()
    finally:
        os.umask(before)
    (path,) = (tmp_path / "new" / "mobilebert").iterdir()
    assert [stat.S_IMODE(place.stat().st_mode) for place in (path.parent, path)] == [0o700, 0o600]


def test_reasons_why_not(tmp_path):
    log, there = run_python(tmp_path, PATH=str(tmp_path))
    assert not there and "runs in Python, not in C (no C compiler found" in log

    compiler = tmp_path / "cc"
    compiler.write_text("#!/bin/sh\n[ $1 = --version ] && exit 0\necho 'cc: error: out of order' >&2\nexit 1\n")
    compiler.chmod(0o755)
    log, there = run_python(tmp_path, PATH=str(tmp_path))
    assert not there and "runs in Python, not in C (cc: error: out of order)" in log
    assert not list((tmp_path / ".cache" / "mobilebert").iterdir())

    for message, shown in (("cc: erreur : d\xe9sordre", r"(cc: erreur : d\xe9sordre)"), (" ", "exit status 1.)")):
        script = f"#!/bin/sh\necho '{message}'\n[ $1 = --version ] && exit 0\necho '{message}' >&2\nexit 1\n"
        compiler.write_text(script, encoding="latin-1")
        log, there = run_python(tmp_path, PATH=str(tmp_path))
        assert not there and "runs in Python, not in C" in log and shown in log

    log, there = run_python(tmp_path, PATH="/usr/bin:/bin", MOBILEBERT_NATIVE="0")
    assert not there and "not in C" not in log


def fake_compiler(path, script):
    path.write_text(f"#!/bin/sh\n[ $1 = --version ] && exit 0\n{script}\n")
    path.chmod(0o755)
    return str(path)


COMPILERS = {
    "speaks no UTF-8": (r"printf 'cc: \377\376\n' >&2; exit 1", r"(cc: \xff\xfe)"),
    "writes nothing": ("exit 0", "No such file or directory"),
    "writes no library": ('for last; do :; done; echo rubbish > "$last"', "file too short"),
    "is killed": ("kill -9 $$", "SIGKILL"),
    "hangs": ('(sleep 20; echo > "$0.ended") & wait', "timed out after 0.5 seconds"),
}


@pytest.mark.parametrize("compiler", COMPILERS)
def test_a_compiler_that_fails_leads_to_python(compiler, cache, monkeypatch, capfd):
    script, reason = COMPILERS[compiler]
    path = cache.parent / "compiler"
    monkeypatch.setenv("CC", fake_compiler(path, script))
    monkeypatch.setattr(c_library, "_SECONDS", 0.5 if compiler == "hangs" else 60)
    assert native.library.__wrapped__() is None
    (line,) = (line for line in capfd.readouterr().err.splitlines() if "runtime:" in line)
    assert "runs in Python, not in C" in line and reason in line
    assert not list(cache.iterdir())
    assert not path.with_name("compiler.ended").exists()  # what it started was not waited for


@needs_library
def test_four_processes_build_at_once(cache, tmp_path):
    (tmp_path / "waiting").mkdir()
    compiler = fake_compiler(
        tmp_path / "compiler",  # which begins when all four have come so far
        f"touch {tmp_path}/waiting/$$; for i in $(seq 300); do\n"
        f"[ $(ls {tmp_path}/waiting | wc -l) -ge 4 ] && break; sleep 0.1; done\n"
        'exec cc "$@"',
    )
    code = (  # of Paddle, which takes long, only its place is wanted
        f"import sys, types; sys.modules['paddle'] = types.SimpleNamespace(__file__={paddle.__file__!r})\n"
        "from mobilebert.accel import build; print(build.load_or_build().mb_abi_version())"
    )
    environment = {"CC": compiler, "TMPDIR": tempfile.tempdir, "PYTHONPATH": str(ROOT)}
    processes = [
        subprocess.Popen([sys.executable, "-c", code], env={**os.environ, **environment}, stdout=subprocess.PIPE)
        for _ in range(4)
    ]
    assert [process.communicate(timeout=120)[0].split() for process in processes] == 4 * [[b"1"]]
    (found,) = cache.iterdir()
    assert c_library.is_sound(found)


def test_the_layer_trains_without_the_library(monkeypatch):
    monkeypatch.setattr(native, "library", lambda: None)
    error, reference_error = errors({}, *make_batch())
    assert error <= max(8 * reference_error, 2e-5)
