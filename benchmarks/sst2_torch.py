"""Repeat a run of scripts/sst2_from_scratch.sh in transformers/torch and print both dev accuracies.

Reads the run's args.json and takes from this repository only what must be the same: the initial weights, the encoded
examples, their order, the learning rate of each step. Model, gradients, AdamW, clipping and evaluation are torch's.

    bash scripts/sst2_from_scratch.sh
    python benchmarks/sst2_torch.py output_sst2_from_scratch

Exit code 1 where the final accuracies differ by more than one point.
"""

import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from mobilebert.base import cli  # noqa: E402
from mobilebert.base.errors import InputError  # noqa: E402
from mobilebert.base.files import read_json, write_json  # noqa: E402

POINTS_ALLOWED = 1.0


def parse_arguments():
    parser = cli.ArgumentParser(
        "Repeat an SST-2 run in transformers/torch: same weights at the start, same batches, same schedule.",
        "  python benchmarks/sst2_torch.py output_sst2_from_scratch",
    )
    parser.add_argument("run", help="output folder of a finished scripts/sst2_from_scratch.sh")
    parser.add_argument("--threads", type=int, default=2, help="of torch")
    return parser.parse_args()


def initial_model(arguments: dict, folder: str):
    """The torch model with the weights that the Paddle run began with, and the encoded examples by split."""
    import transformers

    from mobilebert.convert.convert import convert
    from mobilebert.data.glue.files import read_split
    from mobilebert.data.glue.tasks import get_task
    from mobilebert.model.config import MobileBertConfig
    from mobilebert.tasks.classifier import build_model
    from mobilebert.tasks.classify import encode
    from mobilebert.text.tokenizer import MobileBertTokenizer

    task = get_task(arguments["task_name"])
    config = MobileBertConfig.from_dict(read_json(arguments["config_name"]))
    model, labels, _ = build_model(task, config=config, seed=arguments["seed"])
    model.save_pretrained(f"{folder}/paddle")
    convert(f"{folder}/paddle", f"{folder}/torch", reverse=True)
    tokenizer = MobileBertTokenizer.from_pretrained(arguments["tokenizer_name"])
    sets = {}
    for split in ("train", "dev"):
        examples = read_split(task, arguments["data_dir"], split, labels)
        sets[split] = encode(task, examples, tokenizer, arguments["max_seq_length"], None)
    return transformers.MobileBertForSequenceClassification.from_pretrained(f"{folder}/torch"), sets


def accuracy(model, data, batch_size: int) -> float:
    """Dev accuracy in percent."""
    import numpy as np
    import torch

    model.eval()
    right = 0
    order = np.argsort(data.lengths, kind="stable")
    with torch.no_grad():
        for start in range(0, len(order), batch_size):
            batch = {name: torch.from_numpy(value) for name, value in data.batch(order[start:][:batch_size]).items()}
            labels = batch.pop("labels")
            right += int((model(**batch).logits.argmax(-1) == labels).sum())
    model.train()
    return 100.0 * right / len(order)


def train(model, train_set, dev_set, settings) -> list[dict]:
    """Train as mobilebert.train does; one record an evaluation."""
    import math

    import torch

    from mobilebert.train.optim import learning_rate_at
    from mobilebert.train.sampler import epoch_order, steps_per_epoch

    torch.manual_seed(settings.seed)  # of dropout
    decayed = [p for p in model.parameters() if p.ndim >= 2]
    others = [p for p in model.parameters() if p.ndim < 2]
    optimizer = torch.optim.AdamW(
        [{"params": decayed, "weight_decay": settings.weight_decay}, {"params": others, "weight_decay": 0.0}],
        betas=(settings.adam_beta1, settings.adam_beta2),
        eps=settings.adam_epsilon,
    )
    size = settings.batch_size
    epoch_steps = steps_per_epoch(len(train_set), size)
    total = settings.max_steps or math.ceil(settings.num_train_epochs * epoch_steps)
    history = []
    model.train()
    for step in range(total):
        epoch, position = divmod(step, epoch_steps)
        if position == 0:
            order = epoch_order(train_set.lengths, size, settings.seed, epoch, settings.group_by_length)
        batch = train_set.batch(order[position * size : (position + 1) * size])
        loss = model(**{name: torch.from_numpy(value) for name, value in batch.items()}).loss
        loss.backward()
        if settings.max_grad_norm:
            torch.nn.utils.clip_grad_norm_(model.parameters(), settings.max_grad_norm)
        for group in optimizer.param_groups:
            group["lr"] = learning_rate_at(settings, step, total)
        optimizer.step()
        optimizer.zero_grad()
        done = step + 1
        if done == total or (settings.eval_steps and done % settings.eval_steps == 0):
            history.append({"step": done, "accuracy": accuracy(model, dev_set, size)})
            print(f"step {done}/{total} loss {loss.item():.4f} accuracy {history[-1]['accuracy']:.2f}", flush=True)
    return history


def main() -> int:
    """Train in torch, print the table, compare the final accuracies."""
    args = parse_arguments()
    arguments = read_json(Path(args.run) / "args.json")
    ours = read_json(Path(args.run) / "eval_results.json")
    if arguments.get("task_name") != "sst2" or not arguments.get("config_name"):
        raise InputError(f"{args.run}: not a run of scripts/sst2_from_scratch.sh")

    cli.log_to_console()
    import torch

    from mobilebert.train.settings import TrainSettings

    torch.set_num_threads(args.threads)
    settings = TrainSettings.from_mapping(arguments)
    with tempfile.TemporaryDirectory() as folder:
        model, sets = initial_model(arguments, folder)
    started = time.perf_counter()
    history = train(model, sets["train"], sets["dev"], settings)
    seconds = time.perf_counter() - started
    best, final = max(history, key=lambda record: record["accuracy"]), history[-1]

    row = "{:<20} {:>22} {:>16} {:>10}".format
    print(row("SST-2 dev accuracy", "dev-selected (step)", "final (step)", "seconds"))
    ours_best, ours_final = ours["dev_selected"], ours["final"]
    for name, selected, last, took in (
        ("paddle", ours_best, ours_final, ours["seconds"]),
        ("transformers/torch", best, final, seconds),
    ):
        print(
            row(
                name,
                f"{selected['accuracy']:.2f} ({selected['step']})",
                f"{last['accuracy']:.2f} ({last['step']})",
                f"{took:.0f}",
            )
        )
    write_json(Path(args.run) / "torch_results.json", {"dev_selected": best, "final": final, "history": history})
    difference = abs(ours_final["accuracy"] - final["accuracy"])
    print(f"final checkpoints differ by {difference:.2f} points (at most {POINTS_ALLOWED:g} allowed)")
    return int(difference > POINTS_ALLOWED)


if __name__ == "__main__":
    cli.run(main)
