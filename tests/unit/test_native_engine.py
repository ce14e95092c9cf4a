"""The native engine: every kernel set that this machine can run against the program in float64, and bad input."""

import json
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from support.models import CHECKPOINT_SIZES, FAST_PATH_SIZES, randomise, save_checkpoint
from support.native import CASES, make_program, rescale_channels, write_model

from mobilebert.base.errors import InputError
from mobilebert.export import native_file, quantization
from mobilebert.export.export import ExportPlan, export
from mobilebert.export.fold import fold
from mobilebert.export.paddle_graph import compute
from mobilebert.export.quantization import made_up_batches, quantize
from mobilebert.inference import engines
from mobilebert.inference.manifest import NATIVE_FILE
from mobilebert.inference.predictor import Predictor
from mobilebert.model.config import MobileBertConfig
from mobilebert.model.heads import HEADS
from mobilebert.model.weights import model_state
from mobilebert.native_engine.library import NativeModel, kernel_sets, library

LENGTHS = (1, 7, 64, 65, 130)
# Largest errors relative to the largest output; of few bits for models whose random weights hide nothing.
LIMITS = {"float32": 4e-6, "bf16": 0.05, "int8": 0.1}


KERNEL_SETS = kernel_sets() if shutil.which("cc") else []


def texts(config: MobileBertConfig, lengths=LENGTHS):
    rng = np.random.default_rng(1)
    lengths = [min(length, config.max_position_embeddings) for length in lengths]
    return [(rng.integers(0, config.vocab_size, n), rng.integers(0, config.type_vocab_size, n)) for n in lengths]


def expected(program, rows) -> list[list[np.ndarray]]:
    """Of each text each output in float64, [tokens or 1, columns]."""
    results = []
    for ids, types in rows:
        batch = {"input_ids": ids, "token_type_ids": types, "attention_mask": np.ones_like(ids)}
        lead = (1, 1) if program.choices else (1,)
        (values,) = compute(program, [{k: v.reshape(*lead, -1) for k, v in batch.items()}], "float64")
        per_token = {output.name: output.per_token for output in program.outputs}
        results.append([value.reshape(len(ids) if per_token[name] else 1, -1) for name, value in values.items()])
    return results


def error(model: NativeModel, rows, wanted) -> float:
    lengths = np.array([len(ids) for ids, _ in rows])
    found = model.run(lengths, np.concatenate([i for i, _ in rows]), np.concatenate([t for _, t in rows]))
    worst = 0.0
    for number, (output, value) in enumerate(zip(model.outputs, found, strict=True)):
        bounds = np.cumsum(lengths)[:-1] if output.per_token else np.arange(1, len(rows))
        for part, one in zip(np.split(value, bounds), wanted, strict=True):
            size = max(np.abs(row[number]).max() for row in wanted)
            worst = max(worst, np.abs(part - one[number]).max() / size)
    return worst


@pytest.mark.parametrize("case", CASES)
def test_each_kernel_set_computes_the_program(case, tmp_path, monkeypatch):
    config, program = make_program(**CASES[case])
    rows = texts(config)
    wanted = expected(program, rows)
    control = expected(make_program(seed=1, **CASES[case])[1], rows)  # another model's numbers are not within the limit
    for precision, limit in LIMITS.items():
        path = write_model(tmp_path, precision, **CASES[case])
        for kernels in KERNEL_SETS:
            monkeypatch.setenv("MOBILEBERT_KERNELS", kernels)
            model = NativeModel(path, threads=2)
            assert model.kernels == kernels
            assert error(model, rows, wanted) < limit, (precision, kernels)
            assert error(model, rows, control) > 3 * limit, (precision, kernels)


@pytest.mark.parametrize("head", HEADS)
def test_each_head(head, tmp_path):
    config, program = make_program(head)
    rows = texts(config)
    assert error(NativeModel(write_model(tmp_path, "float32", head)), rows, expected(program, rows)) < 4e-6


def test_int8_products_are_the_same_numbers_in_every_set(tmp_path, monkeypatch):
    path, rows = write_model(tmp_path, "int8"), texts(make_program()[0])
    lengths, ids, types = np.array([len(i) for i, _ in rows]), *map(np.concatenate, zip(*rows, strict=True))
    results = {}
    for kernels in KERNEL_SETS:
        monkeypatch.setenv("MOBILEBERT_KERNELS", kernels)
        results[kernels] = NativeModel(path).run(lengths, ids, types)[0]
    for kernels in {"avx2", "avxvnni", "avx512", "vnni"} & results.keys():
        assert np.abs(results[kernels] - results["portable"]).max() < 1e-2 * np.abs(results["portable"]).max()


def test_channels_of_very_different_size_keep_int8s_error(monkeypatch):
    monkeypatch.setattr(quantization, "LEAST_WEIGHT_SIZE", 1)
    config = MobileBertConfig(**FAST_PATH_SIZES)
    state = model_state(randomise(HEADS["question-answering"](config)))
    batch = {name: np.stack([texts(config, (64,))[0][0]] * 2) for name in ("input_ids",)}
    batch |= {"attention_mask": np.ones_like(batch["input_ids"]), "token_type_ids": np.zeros_like(batch["input_ids"])}

    def errors(parameters):
        """Of the function itself, of int8 with channels evened out, and of int8 as it comes."""
        program = fold(config, parameters, "question-answering", divide=False)
        wanted = compute(fold(config, state, "question-answering"), [batch], "float64")[0]["start_logits"]
        evened, few_bits = quantize(program, made_up_batches(config, False))
        found = []
        for one, quantized in ((program, None), (evened, few_bits), (program, quantize(program)[1])):
            weights = dict(one.weights)
            for name, weight in quantized.weights.items() if quantized else ():
                weights[name] = weight.values * weight.scale.astype(float)
            value = compute(replace(one, weights=weights), [batch], "float64")[0]["start_logits"]
            found.append(np.abs(value - wanted).max() / np.abs(wanted).max())
        return found

    plain, rescaled = errors(state), errors(rescale_channels(state, config, 1e4))
    assert rescaled[0] < 1e-9, "the rescaled model is another function"
    assert rescaled[1] < 3 * plain[1]
    assert rescaled[2] > 3 * rescaled[1]


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    return save_checkpoint(tmp_path_factory.mktemp("native") / "qa", "question-answering")


@pytest.fixture(scope="module")
def exported(checkpoint):
    folder = checkpoint.parent / "native"
    export(ExportPlan(str(checkpoint), folder, format="native"))
    return folder


@pytest.fixture
def batch():
    rng = np.random.default_rng(0)
    ids = rng.integers(1, CHECKPOINT_SIZES["vocab_size"], (4, 40))
    mask = (np.arange(40) < np.array([40, 3, 17, 1])[:, None]).astype(np.int64)
    return {"input_ids": ids, "attention_mask": mask, "token_type_ids": (np.arange(40) > 9) * np.ones_like(ids)}


def test_padding_changes_nothing_and_is_not_computed(exported, checkpoint, batch):
    native, reference = engines.load(exported), engines.load(checkpoint, "dygraph")
    assert native.name == "native"
    seen = batch["attention_mask"] > 0
    for ours, theirs in zip(native.run(batch), reference.run(batch), strict=True):
        assert ours.shape == theirs.shape
        assert np.abs(ours - theirs)[seen].max() < 1e-5 * np.abs(theirs).max()
        assert not ours[~seen].any()


def test_holes_in_the_mask(exported, checkpoint, batch):
    batch["attention_mask"][0, 5:9] = batch["attention_mask"][2, 0] = 0
    seen = batch["attention_mask"] > 0
    native, reference = engines.load(exported), engines.load(checkpoint, "dygraph")
    for ours, theirs in zip(native.run(batch), reference.run(batch), strict=True):
        assert np.abs(ours - theirs)[seen].max() < 1e-5 * np.abs(theirs).max()


def test_many_threads_get_the_answers_of_one(exported):
    predictor = Predictor(exported)
    assert predictor.engine.name == "native"
    rng = np.random.default_rng(0)
    rows = [
        (np.array([n]), rng.integers(1, CHECKPOINT_SIZES["vocab_size"], n), np.zeros(n))
        for n in rng.integers(1, 60, 200)
    ]
    alone = [predictor.engine.model.run(*row) for row in rows]
    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(lambda row: predictor.engine.model.run(*row), rows * 8))
    assert all(
        np.array_equal(a, b)
        for one, two in zip(alone * 8, together, strict=True)
        for a, b in zip(one, two, strict=True)
    )


def test_int8_needs_no_text_and_the_export_has_what_a_c_program_needs(checkpoint, tmp_path):
    manifest = export(ExportPlan(str(checkpoint), tmp_path / "int8", format="native", quantize="int8"))
    assert manifest.quantization == "int8" and manifest.engines == ["native"]
    assert (tmp_path / "int8" / NATIVE_FILE).stat().st_size < (checkpoint / "model.safetensors").stat().st_size / 2
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("no C compiler")
    (library,) = (tmp_path / "int8").glob("libmobilebert-*.so")
    example = tmp_path / "example"
    command = [compiler, "-Wall", "-Wextra", "-Werror", tmp_path / "int8" / "example.c", library, "-o", example]
    subprocess.run([*command, f"-Wl,-rpath,{library.parent}"], check=True)
    ids = np.array([2, 11, 17, 3])
    done = subprocess.run(
        [example, tmp_path / "int8" / NATIVE_FILE, *map(str, ids)], capture_output=True, text=True, check=True
    )
    printed = {name: np.array(values, float) for name, *values in map(str.split, done.stdout.splitlines())}
    model = NativeModel(tmp_path / "int8" / NATIVE_FILE)
    for output, value in zip(model.outputs, model.run(np.array([4]), ids, np.zeros(4)), strict=True):
        assert np.allclose(printed[output.name], value[:, 0], rtol=1e-5)
    done = subprocess.run([example, tmp_path / "int8" / "README.md", "1"], capture_output=True, text=True)
    assert done.returncode == 1 and "header" in done.stderr and done.stdout == ""


def test_the_library_beside_a_model_is_never_loaded(checkpoint, tmp_path):
    export(ExportPlan(str(checkpoint), tmp_path / "model", format="native"))
    (library,) = (tmp_path / "model").glob("libmobilebert-*.so")
    library.write_bytes(b"not a library")
    engine = engines.load(tmp_path / "model")
    assert engine.name == "native" and Path(engine.model._library._name).parent != tmp_path / "model"


def edit_header(path: Path, edit) -> None:
    data = path.read_bytes()
    size = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + size])
    edit(header)
    if "__metadata__" in header:
        metadata = header["__metadata__"]
        metadata["checksum"] = native_file.checksum(metadata["program"].encode(), data[8 + size :])
    text = json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + data[8 + size :])


def in_program(old: str, new: str):
    def edit(header: dict) -> None:
        assert old in header["__metadata__"]["program"]
        header["__metadata__"]["program"] = header["__metadata__"]["program"].replace(old, new, 1)

    return edit


def resize(header: dict) -> None:
    header["layer0.query.weight"]["shape"][0] += 1


def overlap(header: dict) -> None:
    header["layer0.query.weight"]["data_offsets"][1] += 4


BROKEN = {
    "no program": (lambda header: header.pop("__metadata__"), "has no program or no checksum"),
    "another size": (resize, "header"),
    "beyond the end": (overlap, "header"),
    "an unknown operation": (in_program("attention ", "attend "), "no such operation: attend"),
    "an unknown value": (in_program("layer0.query ", "layer9.query "), "no such value"),
    "a missing tensor": (lambda header: header.pop("layer0.query.weight"), "no such tensor: layer0.query.weight"),
    "a line cut off": (in_program(" relu ", " "), "is cut off: linear"),
    "heads that do not divide": (in_program(".value 4", ".value 5"), "an attention of strange sizes"),
    "one value as key and value": (in_program(".key layer0.value 4", ".key layer0.key 4"), "shares its key"),
    "a value of two attentions": (in_program(".key layer1.value 4", ".key layer0.value 4"), "shares its key"),
    "columns that are not there": (in_program("qa_outputs 1 2", "qa_outputs 1 3"), "no such columns"),
}


@pytest.mark.parametrize("fault", BROKEN)
def test_a_broken_file_is_refused_in_one_line(fault, exported, tmp_path):
    path = shutil.copyfile(exported / NATIVE_FILE, tmp_path / NATIVE_FILE)
    edit, message = BROKEN[fault]
    edit_header(path, edit)
    with pytest.raises(InputError, match=message) as caught:
        NativeModel(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("kind", ["words", "positions"])
def test_rows_are_those_of_the_shortest_table(kind, exported, tmp_path):
    path = shutil.copyfile(exported / NATIVE_FILE, tmp_path / NATIVE_FILE)

    def add_a_longer_table(header: dict) -> None:
        program = header["__metadata__"]["program"]
        line = next(one for one in program.splitlines() if one.startswith(f"{kind} "))
        header["long"] = {"dtype": "F32", "shape": [4096, 1], "data_offsets": [0, 4 * 4096]}
        longer = "words more long -" if kind == "words" else "positions more long long"
        header["__metadata__"]["program"] = program.replace(line, f"{line}\n{longer}")

    edit_header(path, add_a_longer_table)
    model, length = NativeModel(path), 1 if kind == "words" else 65
    with pytest.raises(InputError, match="has the id 4095" if kind == "words" else "has 65 tokens"):
        model.run(np.array([length]), np.full(length, 4095 if kind == "words" else 1), np.zeros(length))


def test_a_damaged_file_is_refused(exported, tmp_path):
    path = shutil.copyfile(exported / NATIVE_FILE, tmp_path / NATIVE_FILE)
    data = bytearray(path.read_bytes())
    data[-1000] ^= 1
    path.write_bytes(data)
    with pytest.raises(InputError, match="is damaged: its contents have the checksum"):
        NativeModel(path)
    with pytest.raises(InputError, match="no program or no checksum"):
        start = data.index(b"checksum")
        data[start : start + 8] = b"checkers"
        path.write_bytes(data)
        NativeModel(path)


def test_a_child_of_fork_is_told_to_open_the_model_again(exported):
    code = (
        "import os, sys, time, numpy as np; from mobilebert.native_engine.library import NativeModel; "
        "model = NativeModel(sys.argv[1], 2); one = np.array([1]); zero = np.array([0]); model.run(one, one, zero); "
        "time.sleep(0.1); child = os.fork();\n"
        "if child: sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))\n"
        "try: model.run(one, one, zero)\n"
        "except Exception as error: told = str(error); print(told, flush=True)\n"
        "del model; os._exit('before fork' not in told)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, exported / NATIVE_FILE], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_program_may_end_while_a_thread_runs_a_model(exported):
    code = (
        "import sys, threading, time, numpy as np; from mobilebert.native_engine.library import NativeModel\n"
        "model = NativeModel(sys.argv[1], 2); lengths = np.full(400, 60); ids = np.ones(400 * 60, int)\n"
        "def run():\n    while True: model.run(lengths, ids, 0 * ids)\n"
        "for _ in range(2): threading.Thread(target=run, daemon=True).start()\n"
        "time.sleep(0.3)"
    )
    done = subprocess.run([sys.executable, "-c", code, exported / NATIVE_FILE], timeout=60)
    assert done.returncode == 0


def test_a_file_that_is_cut_off_or_no_file(exported, tmp_path):
    whole = (exported / NATIVE_FILE).read_bytes()
    path = tmp_path / NATIVE_FILE
    for size in (0, 7, 8, 100, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:size])
        with pytest.raises(InputError, match=r"safetensors|cut off"):
            NativeModel(path)
    with pytest.raises(InputError, match="No such file"):
        NativeModel(tmp_path / "nothing")
    with pytest.raises(InputError, match="safetensors"):
        NativeModel(tmp_path)


def test_weights_that_are_no_numbers(tmp_path):
    for precision in ("float32", "bf16", "int8"):
        path = write_model(tmp_path, precision)
        data = bytearray(path.read_bytes())
        size = int.from_bytes(data[:8], "little")
        name = "layer0.query.weight" + (".scale" if precision == "int8" else "")
        start = 8 + size + json.loads(data[8 : 8 + size])[name]["data_offsets"][0]
        data[start : start + 4] = b"\xff" * 4
        path.write_bytes(data)
        edit_header(path, lambda header: None)  # with the checksum that belongs to them
        with pytest.raises(InputError, match=f"not finite: {name}"):
            NativeModel(path)


@pytest.mark.parametrize(
    ("lengths", "ids", "types", "message"),
    [
        ([2], [1, 10**6], [0, 0], "token 1 has the id 1000000"),
        ([2], [1, -1], [0, 0], "token 1 has the id -1"),
        ([2], [1, 1], [0, 9], "token 1 has the type 9"),
        ([0], [], [], "text 0 has 0 tokens"),
        ([65], [1] * 65, [0] * 65, "text 0 has 65 tokens: expected 1 to 64"),
        ([], [], [], "0 texts"),
    ],
)
def test_input_that_the_model_has_no_row_for(lengths, ids, types, message, exported):
    model = NativeModel(exported / NATIVE_FILE)
    with pytest.raises(InputError, match=message):
        model.run(np.array(lengths), np.array(ids), np.array(types))
    assert np.isfinite(model.run(np.array([1]), np.array([1]), np.array([0]))[0]).all()


def test_no_compiler(checkpoint, exported, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CC", raising=False)
    library.cache_clear()
    with pytest.raises(InputError, match="no C compiler found"):
        Predictor(exported)
    with pytest.raises(InputError, match="needs a C compiler"):
        export(ExportPlan(str(checkpoint), tmp_path / "native", format="native"))
    assert not (tmp_path / "native").exists()


def test_arrays_of_other_sizes_than_the_lengths_say(exported):
    model, ids = NativeModel(exported / NATIVE_FILE), np.ones(4, int)
    for changed in (
        {"lengths": np.array([60, 60])},
        {"ids": ids.reshape(2, 2)},
        {"types": ids[1:]},
        {"mask": ids[1:] > 0},
        {"behind": ids},
    ):
        with pytest.raises(ValueError, match="of shape"):
            model.run(**{"lengths": np.array([3, 1]), "ids": ids, "types": 0 * ids, **changed})


@pytest.mark.parametrize("precision", LIMITS)
def test_a_run_leaves_nothing_for_the_next(precision, tmp_path, monkeypatch):
    """Not even where it ran into infinity, and where the next run's texts end in the middle of a panel."""
    path, words = write_model(tmp_path, precision, **CASES["tiles"]), make_program(**CASES["tiles"])[0].vocab_size
    data = bytearray(path.read_bytes())
    size = int.from_bytes(data[:8], "little")
    name = "words.scale" if precision == "int8" else "words"
    first, last = json.loads(data[8 : 8 + size])[name]["data_offsets"]
    row = (last - first) // words
    data[8 + size + last - row : 8 + size + last] = np.full(row // 4, 3e38, "<f4").tobytes()
    path.write_bytes(data)
    edit_header(path, lambda header: None)
    lengths, ids = np.array([5, 40]), np.arange(45) % 20
    seen = ids != 7
    seen[:5] = False  # all alike
    masked = []
    for kernels in KERNEL_SETS:
        monkeypatch.setenv("MOBILEBERT_KERNELS", kernels)
        model = NativeModel(path, threads=2)
        fresh = [model.run(lengths, ids, 0 * ids, mask) for mask in (None, seen)]
        assert all(np.isfinite(value).all() for values in fresh for value in values)
        masked.append(np.concatenate(fresh[1]))
        huge = np.full(180, words - 1)
        assert not np.isfinite(model.run(np.full(3, 60), huge, 0 * huge)[0]).all()
        again = [model.run(lengths, ids, 0 * ids, mask) for mask in (None, seen)]
        assert np.array_equal(fresh, again), kernels
    assert all(np.abs(one - masked[0]).max() < LIMITS[precision] * np.abs(masked[0]).max() for one in masked)


@pytest.mark.parametrize("precision", LIMITS)
def test_a_text_has_the_same_numbers_wherever_it_stands(precision, tmp_path, monkeypatch):
    path = write_model(tmp_path, precision, **CASES["tiles"])
    rng = np.random.default_rng(0)
    text = rng.integers(0, 20, 45)
    for kernels in KERNEL_SETS:
        monkeypatch.setenv("MOBILEBERT_KERNELS", kernels)
        models = [NativeModel(path, threads) for threads in (1, 2, 3)]
        alone = models[0].run(np.array([45]), text, 0 * text)
        for before in range(1, 40):
            ids = np.concatenate([rng.integers(0, 20, before), text, text[:3]])
            found = models[before % 3].run(np.array([before, 45, 3]), ids, 0 * ids)
            for one, two in zip(alone, found, strict=True):
                assert np.array_equal(one, two[before:-3]), (kernels, before)


def test_kernels_that_are_not_there(exported, monkeypatch):
    monkeypatch.setenv("MOBILEBERT_KERNELS", "cuda")
    with pytest.raises(InputError, match="MOBILEBERT_KERNELS"):
        NativeModel(exported / NATIVE_FILE)
