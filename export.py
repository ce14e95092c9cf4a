#!/usr/bin/env python
"""Turn a fine-tuned checkpoint into a small, fast model: folded exactly, checked, with tokenizer and labels."""

from pathlib import Path

from mobilebert import cli

EXAMPLES = """\
  python export.py --model task/squadv1 --out outputs/squad --format all
  python export.py --model task/squadv1 --out outputs/squad-int8 --quantize int8 --calibration dev-v1.1.json
  python export.py --model task/sst2 --out outputs/sst2 --portable
"""


def parse_args():
    """The command line."""
    parser = cli.ArgumentParser(__doc__, EXAMPLES)
    parser.add_argument("--model", required=True, help="a checkpoint's folder or hub name")
    parser.add_argument("--out", required=True, help="the folder to make")
    parser.add_argument(
        "--format", choices=("onnx", "paddle", "all"), default="onnx",
        help="all: both, and the checkpoint itself for dygraph",
    )  # fmt: skip
    parser.add_argument(
        "--quantize", choices=("int8", "dynamic-int8", "fp16"), help="of the ONNX file; int8 needs --calibration"
    )
    parser.add_argument("--calibration", help="text like that of the task: SQuAD JSON, a table or lines (.txt)")
    parser.add_argument("--evaluation", help="the same with labels, to measure on (default: the calibration file)")
    parser.add_argument("--evaluation_limit", type=int, help="measure on so many questions or texts at most")
    parser.add_argument("--head", help="where config.json does not say it")
    parser.add_argument("--portable", action="store_true", help="ONNX with the standard's operators only")
    parser.add_argument("--max_seq_length", type=int, help="tokens (default: 384, or what the model has)")
    parser.add_argument("--force", action="store_true", help="replace the folder where it exists")
    return parser.parse_args()


def main() -> None:
    """Parse, export, say what was made."""
    args = vars(parse_args())

    from mobilebert import runtime  # noqa: F401 (sets up the machine before Paddle starts)
    from mobilebert.deploy import export

    cli.log_to_console()
    plan = export.Plan(**{**args, "out": Path(args["out"])})
    manifest = export.export(plan)
    print(f"{plan.out}: {manifest.head} for {', '.join(manifest.engines)}")
    for path in sorted(plan.out.iterdir()):
        print(f"  {path.stat().st_size / 1e6:8.2f} MB  {path.name}")
    for engine, error in manifest.errors.items():
        print(f"  error of {engine}: {error:.1e} of the largest output")
    for precision, values in manifest.metrics.items():
        print(f"  {precision}: " + ", ".join(f"{name} {value:.2f}" for name, value in values.items()))


if __name__ == "__main__":
    cli.run(main)
