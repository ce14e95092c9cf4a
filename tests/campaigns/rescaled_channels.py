"""int8 on channels of very different size: a trained model whose NoNorm channels are rescaled, the function unchanged.

Every channel of the stream between layers, of the stream within a layer, and of the feed-forward networks is multiplied
by a factor of its own, and what reads it divided by that. In float32 the model stays the same function; int8 as it
comes loses it. Both are exported for the native engine, and measured on labelled text.
"""

import argparse
import shutil
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

import numpy as np  # noqa: E402
from support.native import rescale_channels  # noqa: E402

from mobilebert.base import cli  # noqa: E402
from mobilebert.export.export import ExportPlan, export  # noqa: E402
from mobilebert.model import heads, weights  # noqa: E402
from mobilebert.model.config import MobileBertConfig  # noqa: E402

EXAMPLES = """\
  python %(prog)s --model outputs/quickstart/training/best --evaluation outputs/quickstart/data/dev.json
"""


def main() -> int:
    """Export both and print their metrics."""
    parser = argparse.ArgumentParser(
        description=__doc__, epilog=EXAMPLES, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", required=True, help="a fine-tuned checkpoint with NoNorm and bottlenecks")
    parser.add_argument("--evaluation", required=True, help="labelled text")
    parser.add_argument("--spread", type=float, default=1e4, help="the largest factor over the smallest")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        rescaled = shutil.copytree(args.model, Path(folder) / "rescaled")
        config = MobileBertConfig.from_pretrained(args.model)
        model = heads.HEADS[config.head].from_pretrained(args.model)
        state = rescale_channels(weights.model_state(model), config, args.spread, args.seed)
        for name, parameter in model.named_parameters():
            parameter.set_value(state[name].astype(np.float32))
        model.save_pretrained(rescaled)
        for name, checkpoint in (("as it is", args.model), (f"rescaled by {args.spread:g}", rescaled)):
            for precision in ("int8", "bf16"):
                out = Path(folder) / "out"
                plan = ExportPlan(
                    str(checkpoint), out, format="native", quantize=precision, evaluation=args.evaluation, force=True
                )
                for kind, values in export(plan).metrics.items():
                    cli.say(f"{name:18} {kind:5} " + ", ".join(f"{key} {value:.2f}" for key, value in values.items()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
