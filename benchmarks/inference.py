"""Inference on the CPU: this repository's exports beside transformers and its ONNX exports, on the same random weights.

Each engine runs in a process of its own and they take turns, a few runs each, in an order that reverses every round: a
machine that is slower for a while is slower for all. Ratios are of the fastest runs (p50 and p90 are given too: on a
busy machine they say more about the neighbours). Errors are relative to transformers in float64.
"""

import argparse
import hashlib
import json
import os
import platform
import shlex
import subprocess
import sys
import time
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
sys.path.insert(0, str(Path(__file__).parent))

from mobilebert.base import cli, extras  # isort: skip (before the rest: refuses other Pythons)

import numpy as np
from train_step import peak_mib

from mobilebert import process
from mobilebert.base.errors import InputError
from mobilebert.inference.manifest import NATIVE_FILE

ROOT = Path(__file__).parents[1]
EXAMPLES = """\
  %(prog)s
  %(prog)s --shapes 1x128 --engines transformers ours-onnx --rounds 3
"""
NAMES = ("start_logits", "end_logits")
INPUTS = ("input_ids", "attention_mask", "token_type_ids")
# Engine -> (kind of worker, its file below the folder of models)
ENGINES = {
    "transformers": ("torch", "checkpoint"),
    "transformers-onnx": ("onnxruntime-file", "transformers.onnx"),
    "transformers-onnx-dynamo": ("onnxruntime-file", "transformers-dynamo.onnx"),
    "transformers-onnx-int8": ("onnxruntime-file", "transformers-int8.onnx"),
    "transformers-onnx-int8-channel": ("onnxruntime-file", "transformers-int8-channel.onnx"),
    "ours-dygraph": ("dygraph", "ours"),
    "ours-paddle": ("paddle", "ours"),
    "ours-onnx": ("onnxruntime", "ours"),
    "ours-onnx-portable": ("onnxruntime", "ours-portable"),
    "ours-onnx-dynamic-int8": ("onnxruntime", "ours-dynamic-int8"),
    "ours-onnx-int8": ("onnxruntime", "ours-int8"),
    "ours-native": ("native", "ours-native"),
    "ours-native-bf16": ("native", "ours-native-bf16"),
    "ours-native-int8": ("native", "ours-native-int8"),
    "ours-openvino-f32": ("openvino-f32", "ours-portable"),
    "ours-openvino-bf16": ("openvino-bf16", "ours-portable"),
}
SLOW = ("transformers-onnx-int8-channel",)  # only their error is asked for
REFERENCES = ("transformers-onnx", "transformers-onnx-dynamo")  # ratios are against the faster
GEMM_SIZE = 2048
SETTLE_SECONDS = 0.05  # threads of the engine that just ran spin a little before they sleep
ERROR_SHAPE = (2, 128)


def parse_args() -> argparse.Namespace:
    parser = cli.ArgumentParser(__doc__, EXAMPLES)
    parser.add_argument("--shapes", nargs="+", default=["1x128", "1x384", "8x128", "8x384"], help="batch x tokens")
    parser.add_argument(
        "--engines", nargs="+", choices=[*ENGINES], metavar="ENGINE",
        help=f"some of {', '.join(ENGINES)} (default: all whose library is installed)",
    )  # fmt: skip
    parser.add_argument("--rounds", type=int, default=6, help="turns of each engine at each shape")
    parser.add_argument("--threads", type=int, default=2, help="of each engine")
    parser.add_argument("--folder", default="outputs/benchmark", help="where the models are made, and found again")
    parser.add_argument("--results", default=str(ROOT / "benchmarks" / "results"), help="where the tables go")
    parser.add_argument("--seed", type=int, default=0, help="of weights and inputs")
    parser.add_argument("--serve", nargs=3, metavar=("KIND", "PATH", "THREADS"), help=argparse.SUPPRESS)
    args = parser.parse_args()
    has_openvino = find_spec("openvino") is not None
    if not has_openvino and any("openvino" in name for name in args.engines or ()):
        raise extras.missing("openvino")
    args.engines = args.engines or [name for name in ENGINES if has_openvino or "openvino" not in name]
    return args


def batch_of(batch: int, length: int, seed: int, padded: bool = False) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    mask = np.ones((batch, length), np.int64)
    if padded:
        mask[1:, length // 2 :] = 0
    types = np.broadcast_to(np.arange(length) >= length // 3, (batch, length)).astype(np.int64)
    return dict(zip(INPUTS, (rng.integers(1000, 30000, (batch, length)), mask, types), strict=True))


# ---- the models ----


def make_models(folder: Path, seed: int) -> None:
    """The checkpoint, what transformers makes of it, and what this repository makes of it."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *(f"word{i}" for i in range(30522 - 5))]
    make_checkpoint(folder, rng, words)
    make_transformers_exports(folder, seed)
    make_our_exports(folder, rng, words)
    (folder / "complete").write_text(made_from(seed))


def make_checkpoint(folder: Path, rng: np.random.Generator, words: list[str]) -> None:
    """``checkpoint``: random weights at full size, with a tokenizer of ``words``."""
    import torch
    from transformers import MobileBertConfig, MobileBertForQuestionAnswering

    from mobilebert.text.tokenizer import MobileBertTokenizer

    model = MobileBertForQuestionAnswering(MobileBertConfig(classifier_activation=False)).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith("LayerNorm.weight"):  # far from 1, so that folding has something to do
                value = rng.uniform(0.7, 1.3, parameter.shape)
            elif name.endswith("bias"):
                value = rng.normal(0, 0.05, parameter.shape)
            elif "embeddings." in name and "transformation" not in name:
                value = rng.normal(0, 0.2, parameter.shape)
            else:
                value = rng.normal(0, 0.35 * parameter.shape[-1] ** -0.5, parameter.shape)
            parameter.copy_(torch.from_numpy(value))
    model.save_pretrained(folder / "checkpoint")
    MobileBertTokenizer(vocab={word: i for i, word in enumerate(words)}).save_pretrained(folder / "checkpoint")


def make_transformers_exports(folder: Path, seed: int) -> None:
    """``transformers*.onnx``: by both of PyTorch's exporters, and quantized by ONNX Runtime."""
    import torch
    from transformers import MobileBertForQuestionAnswering

    quantization = extras.load("onnxruntime.quantization")
    model = MobileBertForQuestionAnswering.from_pretrained(folder / "checkpoint").eval()

    class Logits(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.model = model

        def forward(self, input_ids, attention_mask, token_type_ids):
            output = self.model(input_ids, attention_mask=attention_mask, token_type_ids=token_type_ids)
            return output.start_logits, output.end_logits

    sample = tuple(torch.from_numpy(array) for array in batch_of(2, 16, seed).values())
    axes = {name: {0: "batch", 1: "tokens"} for name in (*INPUTS, *NAMES)}
    common = {"input_names": list(INPUTS), "output_names": list(NAMES)}
    torch.onnx.export(
        Logits(), sample, folder / "transformers.onnx", dynamic_axes=axes, dynamo=False, opset_version=17, **common
    )
    shapes = {name: {0: torch.export.Dim.DYNAMIC, 1: torch.export.Dim.DYNAMIC} for name in INPUTS}
    torch.onnx.export(
        Logits(), sample, folder / "transformers-dynamo.onnx", dynamic_shapes=shapes, dynamo=True,
        external_data=False, **common,
    )  # fmt: skip
    for name, per_channel in (("int8", False), ("int8-channel", True)):
        target = folder / f"transformers-{name}.onnx"
        quantization.quantize_dynamic(
            folder / "transformers.onnx",
            target,
            weight_type=quantization.QuantType.QInt8,
            per_channel=per_channel,
        )


def make_our_exports(folder: Path, rng: np.random.Generator, words: list[str]) -> None:
    """``ours*``: what export.py writes."""
    from mobilebert.export.export import ExportPlan, export

    def text(count: int) -> str:
        return " ".join(words[i] for i in rng.integers(1000, 30000, count))

    questions = [
        {"context": text(200), "qas": [{"id": str(i), "question": text(10), "answers": []}]} for i in range(24)
    ]
    calibration = folder / "calibration.json"
    calibration.write_text(json.dumps({"version": "v2.0", "data": [{"title": "words", "paragraphs": questions}]}))
    for name, options in {
        "ours": {"format": "all"},
        "ours-portable": {"portable": True},
        "ours-dynamic-int8": {"quantize": "dynamic-int8"},
        "ours-int8": {"quantize": "int8", "calibration": str(calibration)},
        "ours-native": {"format": "native"},
        "ours-native-bf16": {"format": "native", "quantize": "bf16"},
        "ours-native-int8": {"format": "native", "quantize": "int8"},
    }.items():
        export(ExportPlan(str(folder / "checkpoint"), folder / name, force=True, **options))


def made_from(seed: int) -> str:
    """Digest of what the models are made from: with other code or another seed they are made again."""
    rooms = (ROOT / "mobilebert" / room for room in ("model", "export"))
    sources = [Path(__file__), *sorted(path for room in rooms for path in room.rglob("*.py"))]
    return hashlib.sha256(b"".join(path.read_bytes() for path in sources) + str(seed).encode()).hexdigest()


def reference(folder: Path, batch: dict[str, np.ndarray]) -> np.ndarray:
    """transformers' logits in float64, [2, B, S]."""
    import torch
    from transformers import MobileBertForQuestionAnswering

    model = MobileBertForQuestionAnswering.from_pretrained(folder / "checkpoint").double().eval()
    with torch.no_grad():
        output = model(**{name: torch.from_numpy(array) for name, array in batch.items()})
    return np.stack([output[name].numpy() for name in NAMES])


# ---- one engine in its own process ----


def make_runner(kind: str, path: Path, threads: int):
    if kind == "torch":
        import torch
        from transformers import MobileBertForQuestionAnswering

        torch.set_num_threads(threads)
        model = MobileBertForQuestionAnswering.from_pretrained(path, attn_implementation="eager").eval()

        def run(batch):
            with torch.no_grad():
                output = model(**{name: torch.from_numpy(array) for name, array in batch.items()})
            return [output[name].numpy() for name in NAMES]

        return run
    from mobilebert.inference import engines

    if kind == "onnxruntime-file":
        engine = engines.ENGINES["onnxruntime"]
        return engine(path.parent, "question-answering", NAMES, engines.EngineOptions(threads), path.name).run
    engine, _, precision = kind.partition("-")
    return engines.load(path, engine, threads, precision or "f32").run


def serve(kind: str, path: str, threads: str) -> None:
    """Answer lines on standard input: ``{"batch", "length", "runs"}`` with times in ms, logits and peak memory."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what libraries print is no answer
    start = time.perf_counter()
    run = make_runner(kind, Path(path), int(threads))
    load_seconds = time.perf_counter() - start
    for line in sys.stdin:
        order = json.loads(line)
        batch = batch_of(order["batch"], order["length"], order["seed"], order["padded"])
        outputs = run(batch)
        times = []
        for _ in range(order["runs"]):
            start = time.perf_counter()
            run(batch)
            times.append((time.perf_counter() - start) * 1e3)
        peak = peak_mib() * 1.048576  # not getrusage's figure: that begins at the parent's
        logits = np.stack(outputs).astype(np.float64).tolist() if order["padded"] else None
        answers.write(json.dumps({"ms": times, "logits": logits, "peak_mb": peak, "load_seconds": load_seconds}) + "\n")
        answers.flush()


class Worker:
    """An engine's process, seen from the parent."""

    def __init__(self, name: str, folder: Path, threads: int):
        kind, file = ENGINES[name]
        command = [sys.executable, __file__, "--serve", kind, str(folder / file), str(threads)]
        settings = {**os.environ, "OMP_NUM_THREADS": str(threads)}
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=settings
        )

    def ask(self, shape: tuple[int, int], runs: int, seed: int, padded: bool = False) -> dict:
        order = {"batch": shape[0], "length": shape[1], "runs": runs, "seed": seed, "padded": padded}
        try:
            self.process.stdin.write(json.dumps(order) + "\n")
            self.process.stdin.flush()
            answer = self.process.stdout.readline()
        except BrokenPipeError:
            answer = ""
        if not answer:
            command = shlex.join(self.process.args)
            raise InputError(f"an engine ended with code {self.process.wait()}; to see why, run {command}")
        return json.loads(answer)

    def close(self) -> None:
        self.process.stdin.close()
        self.process.wait()


# ---- the measurement ----


def gemm_gflops(threads: int) -> float:
    """The rate of ONNX Runtime's own large float32 product: what the machine gives at best right now."""
    from onnx import TensorProto, helper, numpy_helper

    onnxruntime = extras.load("onnxruntime")
    size = GEMM_SIZE
    weight = numpy_helper.from_array(np.ones((size, size), np.float32), "w")
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [size, size]) for name in ("x", "y")]
    graph = helper.make_graph([helper.make_node("MatMul", ["x", "w"], ["y"])], "gemm", values[:1], values[1:], [weight])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    times = []
    for _ in range(5):
        start = time.perf_counter()
        session.run(None, {"x": np.ones((size, size), np.float32)})
        times.append(time.perf_counter() - start)
    return 2 * size**3 / min(times) / 1e9


def model_gflop(shape: tuple[int, int]) -> float:
    """Work of the folded model: products of the layers and the embedding, and attention."""
    batch, length = shape
    per_layer = 3 * 512 * 128 + 2 * 128 * 128 + 128 * 128 + 4 * 2 * 128 * 512 + 128 * 512
    per_token = 24 * (per_layer + 2 * length * 128) + 384 * 512 + 512 * 2
    return 2 * batch * length * per_token / 1e9


def measure(args: argparse.Namespace, folder: Path) -> dict:
    shapes = [tuple(map(int, shape.split("x"))) for shape in args.shapes]
    workers = {name: Worker(name, folder, args.threads) for name in args.engines}
    sample = batch_of(*ERROR_SHAPE, args.seed, padded=True)
    truth = reference(folder, sample)
    seen = sample["attention_mask"] > 0
    engines = {}
    for name, worker in workers.items():
        answer = worker.ask(ERROR_SHAPE, 0, args.seed, padded=True)
        error = np.abs(np.array(answer["logits"]) - truth)[:, seen].max() / np.abs(truth[:, seen]).max()
        path = folder / ENGINES[name][1]
        files = {
            "torch": "model.safetensors", "dygraph": "model.safetensors", "paddle": "model.pdiparams",
            "native": NATIVE_FILE,
        }  # fmt: skip
        path = path / files.get(ENGINES[name][0], "model.onnx") if path.is_dir() else path
        engines[name] = {
            "error": float(error), "file_mb": path.stat().st_size / 1e6, "load_seconds": answer["load_seconds"],
            "shapes": {},
        }  # fmt: skip
    gemm = []
    timed = [name for name in workers if name not in SLOW]
    for shape in shapes:
        times = {name: [] for name in timed}
        runs = 4 if shape[0] * shape[1] < 1024 else 2
        for number in range(args.rounds):
            gemm.append(gemm_gflops(args.threads))
            for name in timed if number % 2 == 0 else timed[::-1]:
                time.sleep(SETTLE_SECONDS)
                answer = workers[name].ask(shape, runs, args.seed)
                times[name] += answer["ms"]
                engines[name]["peak_mb"] = answer["peak_mb"]
        text = f"{shape[0]}x{shape[1]}"
        fastest = {name: min(values) for name, values in times.items()}
        exported = min((fastest[name] for name in REFERENCES if name in fastest), default=None)
        for name, values in times.items():
            best = fastest[name]
            row = {
                "ms": best, "p50_ms": float(np.percentile(values, 50)), "p90_ms": float(np.percentile(values, 90)),
                "texts_per_second": shape[0] / best * 1e3, "gflops": model_gflop(shape) / best * 1e3,
            }  # fmt: skip
            for against, value in (
                ("transformers", fastest.get("transformers")), ("transformers-onnx", exported),
                ("transformers-onnx-int8", fastest.get("transformers-onnx-int8")),
            ):  # fmt: skip
                if value is not None:
                    row[f"against_{against}"] = best / value
            engines[name]["shapes"][text] = row
        print(text, {name: round(value, 1) for name, value in fastest.items()}, flush=True)
    for worker in workers.values():
        worker.close()
    libraries = ("paddlepaddle", "onnxruntime", "onnx", "torch", "transformers", "openvino")
    installed = {dist.metadata["Name"] for dist in metadata.distributions()}
    return {
        "command": " ".join(["python benchmarks/inference.py", *sys.argv[1:]]),
        "cpu": cpu(), "threads": args.threads, "load_average": os.getloadavg()[0], "gemm_gflops": max(gemm),
        "python": platform.python_version(),
        "versions": {name: metadata.version(name) for name in libraries if name in installed},
        "engines": engines,
    }  # fmt: skip


def cpu() -> str:
    flags = process.this_cpu().flags
    features = [flag for flag in ("avx2", "avx512f", "avx512_vnni", "avx512_bf16", "amx_int8") if flag in flags]
    return f"{process.cpu_name() or 'unknown'}, {os.cpu_count()} processors, {' '.join(features)}"


# ---- tables and the picture ----


def table(result: dict) -> str:
    engines = result["engines"]
    shapes = list(next(iter(engines.values()))["shapes"]) or []
    timed = {name: engine for name, engine in engines.items() if engine["shapes"]}
    libraries = ", ".join(f"{name} {version}" for name, version in result["versions"].items())
    machine = f"{result['cpu']}, {result['threads']} threads, load average {result['load_average']:.1f}"
    columns = [*shapes, "file MB", "peak MB", "load s", "error"]
    lines = [
        "# Inference on the CPU",
        "",
        f"`{result['command']}`: {machine}; {libraries}.",
        "Random weights of the full model, question answering. "
        f"A large float32 product ran at {result['gemm_gflops']:.0f} GFLOP/s.",
        "",
        "## Milliseconds: fastest (p50 / p90)",
        "",
        f"| engine | {' | '.join(columns)} |",
        "| --- |" + " --- |" * len(columns),
    ]
    for name, engine in engines.items():
        cells = [
            f"{row['ms']:.1f} ({row['p50_ms']:.1f} / {row['p90_ms']:.1f})" if row else ""
            for row in (engine["shapes"].get(shape) for shape in shapes)
        ]
        peak = f"{engine['peak_mb']:.0f}" if "peak_mb" in engine else ""
        lines.append(
            f"| {name} | {' | '.join(cells)} | {engine['file_mb']:.1f} | {peak} | {engine['load_seconds']:.1f} | "
            f"{engine['error']:.1e} |"
        )
    for title, key in (
        ("Ratio to transformers eager", "against_transformers"),
        ("Ratio to the faster of transformers' two ONNX exports in ONNX Runtime", "against_transformers-onnx"),
        ("Ratio to transformers' dynamic int8", "against_transformers-onnx-int8"),
    ):
        lines += ["", f"## {title}", "", f"| engine | {' | '.join(shapes)} |", "| --- |" + " --- |" * len(shapes)]
        for name, engine in timed.items():
            values = [engine["shapes"][shape].get(key) for shape in shapes]
            if None not in values:
                lines.append(f"| {name} | {' | '.join(f'{value:.2f}' for value in values)} |")
    lines += ["", "## Texts a second, and work done as part of the large product's rate", ""]
    lines += [f"| engine | {' | '.join(shapes)} |", "| --- |" + " --- |" * len(shapes)]
    for name, engine in timed.items():
        rows = [engine["shapes"][shape] for shape in shapes]
        cells = [f"{row['texts_per_second']:.1f} ({row['gflops'] / result['gemm_gflops']:.0%})" for row in rows]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def draw(result: dict, path: Path) -> None:
    from mobilebert.base import plots

    timed = {name: engine for name, engine in result["engines"].items() if engine["shapes"]}
    shapes = list(next(iter(timed.values()))["shapes"])
    times = {
        shape: [engine["shapes"][shape].get("against_transformers", 0) for engine in timed.values()] for shape in shapes
    }
    sizes = {"file": [engine["file_mb"] for engine in timed.values()]}
    plots.bars(path, list(timed), [("time relative to transformers eager", times), ("file, MB", sizes)])


def main() -> None:
    args = parse_args()
    if args.serve:
        serve(*args.serve)
        return
    folder = Path(args.folder)
    complete = folder / "complete"
    if not complete.exists() or complete.read_text() != made_from(args.seed):
        make_models(folder, args.seed)
    result = measure(args, folder)
    from mobilebert.base.files import write_json, write_text

    results = Path(args.results)
    write_json(results / "inference.json", result)
    write_text(results / "inference.md", table(result))
    draw(result, results / "inference.png")
    print(table(result))


if __name__ == "__main__":
    cli.run(main)
