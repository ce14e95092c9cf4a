"""Real work: the forward passes of an evaluation on SQuAD, features a second, without reading and post-processing.

Features are those of run_squad.py (384 tokens, stride 128). transformers runs them eagerly, padded to 384 as its run_qa
does, and in the order of their lengths padded to the longest of a batch; our engines as our evaluation does. Engines
take turns, some hundred features each, in an order that reverses every turn.
"""

import argparse
import json
import os
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
sys.path.insert(0, str(Path(__file__).parent))

from mobilebert.base import cli  # isort: skip (before the rest: refuses other Pythons)

import numpy as np
from inference import INPUTS, batch_of, cpu, made_from, make_models, make_runner

from mobilebert.base.errors import InputError
from mobilebert.data.collate import PackedDataset
from mobilebert.data.qa.features import build_features
from mobilebert.data.qa.squad_json import read_squad
from mobilebert.inference.rows import batches_by_tokens, batches_of, longest_first
from mobilebert.text.tokenizer import MobileBertTokenizer

LENGTH, STRIDE = 384, 128
# Name -> (kind of runner, its folder, how batches are made)
ENGINES = {
    "transformers padded": ("torch", "checkpoint", "padded"),
    "transformers dynamic": ("torch", "checkpoint", "sorted"),
    "ours-onnx": ("onnxruntime", "ours", "ours"),
    "ours-onnx-int8": ("onnxruntime", "ours-int8", "ours"),
    "ours-native": ("native", "ours-native", "ours"),
    "ours-native-bf16": ("native", "ours-native-bf16", "ours"),
    "ours-native-int8": ("native", "ours-native-int8", "ours"),
}
EXAMPLES = """\
  %(prog)s --data dev-v1.1.json --vocab vocab.txt
  %(prog)s --data dev-v1.1.json --vocab vocab.txt --features 0 --engines "transformers padded" ours-native-int8
"""


def parse_args() -> argparse.Namespace:
    parser = cli.ArgumentParser(__doc__, EXAMPLES)
    parser.add_argument("--data", metavar="FILE", required=True, help="SQuAD's dev set")
    parser.add_argument("--vocab", metavar="FILE", required=True, help="vocab.txt, of 30,522 tokens")
    parser.add_argument("--features", type=int, default=768, help="of all, evenly spread; 0: all")
    parser.add_argument("--turns", type=int, default=3, help="of each engine; a turn is that share of the features")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--engines", nargs="+", choices=[*ENGINES], metavar="ENGINE", default=[*ENGINES])
    parser.add_argument("--folder", default="outputs/benchmark", help="where scripts/benchmark.sh made its models")
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args()


def batches_for(how: str, lengths: np.ndarray) -> list[np.ndarray]:
    """Row numbers: eight rows as run_qa evaluates, or what our evaluation makes."""
    if how == "padded":
        return batches_of(np.arange(len(lengths)), 8)
    return batches_of(longest_first(lengths), 8) if how == "sorted" else batches_by_tokens(lengths)


def main() -> None:
    args = parse_args()
    folder = Path(args.folder)
    done = folder / "complete"
    if not done.exists() or done.read_text() != made_from(args.seed):
        make_models(folder, args.seed)
    if not Path(args.data).exists():
        raise InputError(f"{args.data}: no such file")
    rows = build_features(
        read_squad(args.data)[0], MobileBertTokenizer.from_pretrained(args.vocab),
        max_seq_length=LENGTH, doc_stride=STRIDE, is_training=False,
    )  # fmt: skip
    data = PackedDataset(rows, 0)
    chosen = np.arange(len(data.lengths))
    if args.features:
        chosen = np.unique(np.linspace(0, len(chosen) - 1, args.features).astype(int))
    runners = {name: make_runner(ENGINES[name][0], folder / ENGINES[name][1], args.threads) for name in args.engines}
    for run in runners.values():
        run(batch_of(2, LENGTH, args.seed))
    seconds = dict.fromkeys(runners, 0.0)
    for turn, part in enumerate(np.array_split(np.random.default_rng(0).permutation(chosen), args.turns)):
        for name in list(runners)[:: 1 if turn % 2 == 0 else -1]:
            how = ENGINES[name][2]
            batches = []
            for batch in batches_for(how, data.lengths[part]):
                inputs = {key: data.batch(part[batch])[key] for key in INPUTS}
                if how == "padded":
                    inputs = {
                        key: np.pad(value, ((0, 0), (0, LENGTH - value.shape[1]))) for key, value in inputs.items()
                    }
                batches.append(inputs)
            begin = time.perf_counter()
            for inputs in batches:
                runners[name](inputs)
            seconds[name] += time.perf_counter() - begin
    rates = {name: len(chosen) / spent for name, spent in seconds.items()}
    cli.say(f"{cpu()}, {args.threads} threads, load average {os.getloadavg()[0]:.1f}")
    cli.say(f"{len(chosen)} of {len(data.lengths)} features, {int(data.lengths[chosen].sum())} tokens without padding")
    for name, rate in rates.items():
        against = ", ".join(
            f"{rate / rates[other]:.2f} of {other}" for other in list(ENGINES)[:2] if other in rates and other != name
        )
        cli.say(f"{name:22} {rate:7.1f} features/s   {against}")
    cli.say(json.dumps({name: round(rate, 1) for name, rate in rates.items()}))


if __name__ == "__main__":
    cli.run(main)
