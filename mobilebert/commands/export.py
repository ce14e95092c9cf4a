"""Turn a fine-tuned checkpoint into a small, fast model: folded exactly, checked, with tokenizer and labels."""

import argparse
from pathlib import Path
from typing import NoReturn

from mobilebert.base import cli, digests
from mobilebert.base.errors import InputError
from mobilebert.export import hub_layout
from mobilebert.export.targets import formats, quantizations

EXAMPLES = """\
  %(prog)s --model task/squadv1 --out outputs/squad --format all
  %(prog)s --model task/squadv1 --out outputs/squad-int8 --quantize int8 --calibration dev-v1.1.json
  %(prog)s --model task/sst2 --out outputs/sst2 --portable
  %(prog)s --model task/sst2 --out outputs/sst2-hub --layout hub
  %(prog)s --model task/squadv1 --out outputs/squad-web --format web
  %(prog)s --model output_ner/best --out outputs/ner-int8 --quantize int8 --calibration dev.conll
  %(prog)s --model task/sst2 --out outputs/sst2-phone --format litert --quantize dynamic-int8 --max_seq_length 128
"""


def parse_args() -> argparse.Namespace:
    """The command line; the names are those of ``mobilebert.export.plan.ExportPlan``."""
    parser = cli.ArgumentParser(__doc__, EXAMPLES)
    group = parser.add_argument_group("from where to where")
    group.add_argument(
        "--model", "--model_name_or_path", metavar="MODEL", required=True, help="a checkpoint's folder or hub name"
    )
    group.add_argument("--out", "--output_dir", metavar="DIR", required=True, help="the folder to make")
    group.add_argument("--force", action="store_true", help="replace the folder where it is an export")
    digests.add_flag(group)

    group = parser.add_argument_group("what to make")
    group.add_argument(
        "--format", choices=formats(), default="onnx",
        help="litert: .tflite for phones and browsers; web: a page that any server of files serves; all: the others, "
        "and the checkpoint itself for dygraph",
    )  # fmt: skip
    group.add_argument(
        "--layout", choices=hub_layout.LAYOUTS, default="flat",
        help="hub: where transformers.js looks for ONNX files, in float32, int8 and fp16",
    )  # fmt: skip
    group.add_argument("--portable", action="store_true", help="ONNX with the standard's operators only")
    group.add_argument(
        "--quantize", choices=quantizations(), help="what fits the format; int8 of ONNX needs --calibration"
    )
    group.add_argument(
        "--max_seq_length", metavar="TOKENS", type=int, help="tokens (default: 384, or what the model has)"
    )
    group.add_argument("--head", metavar="HEAD", help="where config.json does not say it")

    group = parser.add_argument_group("text to calibrate and measure on")
    group.add_argument(
        "--calibration",
        metavar="FILE",
        help="text like that of the task: SQuAD JSON, a table, tagged sentences or lines (.txt)",
    )
    group.add_argument(
        "--evaluation", metavar="FILE", help="the same with labels, to measure on (default: the calibration file)"
    )
    group.add_argument(
        "--evaluation_limit", metavar="N", type=int, help="measure on so many questions or texts at most"
    )
    group.add_argument(
        "--plot", metavar="FILE.png", help="draw the exported model's logits, on this text, against the checkpoint's"
    )
    return parser.parse_args()


def main() -> None:
    """Parse, export, say what was made."""
    args = vars(parse_args())
    picture, text = args.pop("plot"), args["evaluation"] or args["calibration"]
    if picture and not text:
        raise InputError("--plot needs text: give --evaluation FILE or --calibration FILE")

    from mobilebert.base import plots
    from mobilebert.export import agreement, export

    cli.log_to_console()
    if args.pop("verify"):
        digests.check_all(args["model"])
    plan = export.ExportPlan(**{**args, "out": Path(args["out"])})
    manifest = export.export(plan)
    cli.say(f"{plan.out}: {manifest.head} for {', '.join(manifest.engines)}")
    for path in sorted(path for path in plan.out.rglob("*") if path.is_file()):
        cli.say(f"  {path.stat().st_size / 1e6:8.2f} MB  {path.relative_to(plan.out)}")
    for engine, error in manifest.errors.items():
        cli.say(f"  error of {engine}: {error:.1e} of the largest output")
    for precision, values in manifest.metrics.items():
        cli.say(f"  {precision}: " + ", ".join(f"{name} {value:.2f}" for name, value in values.items()))
    if picture:
        pairs = agreement.outputs_of_both(args["model"], plan.out, text, args["evaluation_limit"] or 100)
        plots.agreement(pairs, picture, plan.quantize or "float32")


def run() -> NoReturn:
    """The console command."""
    cli.run(main)
