"""What dynamic padding and --group_by_length bring: the same training with three ways to pad.

All train the same model through the real loop. They take turns, so that a machine that is slow for a while is slow for
all; ratios are medians over rounds. Also printed: the share of the time in steps that was spent waiting for data.

    python benchmarks/length_batching.py --data_dir ../shared/data/glue/SST-2 --tokenizer_name ../shared/data/vocab.txt
"""

import contextlib
import io
import statistics
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from mobilebert.base import cli  # noqa: E402

WAYS = ("fixed", "dynamic", "grouped")


def parse_arguments():
    parser = cli.ArgumentParser(
        "Time training on SST-2 padded to max_seq_length, padded dynamically, and grouped by length.",
        "  python benchmarks/length_batching.py --data_dir SST-2 --tokenizer_name vocab.txt",
    )
    parser.add_argument("--data_dir", required=True, help="folder with SST-2's train.tsv")
    parser.add_argument("--tokenizer_name", required=True, help="vocab.txt or a tokenizer's folder")
    parser.add_argument("--config_name", default=str(ROOT / "scripts/sst2_from_scratch.json"), help="of the model")
    parser.add_argument("--max_seq_length", type=int, default=128, help="tokens")
    parser.add_argument("--batch_size", type=int, default=48, help="sentences")
    parser.add_argument("--steps", type=int, default=15, help="timed steps of each way and round, after as many more")
    parser.add_argument("--rounds", type=int, default=3, help="how often they take turns")
    return parser.parse_args()


def main() -> int:
    args = parse_arguments()
    from mobilebert.base.files import read_json
    from mobilebert.data.collate import PackedDataset
    from mobilebert.data.glue.files import read_split
    from mobilebert.data.glue.tasks import get_task
    from mobilebert.model.config import MobileBertConfig
    from mobilebert.tasks.classifier import build_model
    from mobilebert.tasks.classify import encode
    from mobilebert.text.tokenizer import MobileBertTokenizer
    from mobilebert.train import TrainSettings, runlog, train

    task = get_task("sst2")
    config = MobileBertConfig.from_dict(read_json(args.config_name))
    model, labels, _ = build_model(task, config=config, seed=1)
    tokenizer = MobileBertTokenizer.from_pretrained(args.tokenizer_name)
    examples = read_split(task, args.data_dir, "train", labels)
    dynamic = encode(task, examples, tokenizer, args.max_seq_length, None)
    fixed = PackedDataset(dynamic.rows, tokenizer.pad_token_id, pad_to_multiple_of=args.max_seq_length)

    speed: dict[str, list[float]] = {way: [] for way in WAYS}
    waiting: dict[str, list[float]] = {way: [] for way in WAYS}
    for turn in range(args.rounds):
        for way in WAYS if turn % 2 == 0 else WAYS[::-1]:
            settings = TrainSettings(
                max_steps=2 * args.steps,
                log_steps=args.steps,
                save_steps=0,
                batch_size=args.batch_size,
                group_by_length=way == "grouped",
            )
            data = fixed if way == "fixed" else dynamic
            with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()):
                train(model, data, lambda net, batch: net(**batch).loss, settings, folder)
                last = runlog.read_records(Path(folder, runlog.TRAIN_LOG))[-1]
            speed[way].append(last["examples_per_second"])
            waiting[way].append(last["data_wait_share"])

    print(f"{len(examples)} sentences, {dynamic.lengths.mean():.1f} tokens on average, {dynamic.lengths.max()} at most")
    print(f"{'padding':10}{'examples/s':>12}{'of fixed':>10}{'waiting for data':>19}")
    for way in WAYS:
        ratio = statistics.median(a / b for a, b in zip(speed[way], speed["fixed"], strict=True))
        wait = statistics.median(waiting[way])
        print(f"{way:10}{statistics.median(speed[way]):12.1f}{ratio:9.2f}x{wait:18.2%}")
    return 0


if __name__ == "__main__":
    cli.run(main)
