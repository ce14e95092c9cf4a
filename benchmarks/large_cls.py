"""How far two frameworks are apart at [CLS] when its vector reaches 1e7, as it does in the released weights.

Makes a full-size MobileBERT with random weights whose norms are perturbed and whose first position (that of [CLS]) is
scaled up, converts it, and compares PyTorch and Paddle: in absolute numbers, in steps of float32, and relatively.
"""

import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from mobilebert.base import cli

EXAMPLES = """\
  python benchmarks/large_cls.py
  python benchmarks/large_cls.py --scale 1 --dtype float64"""


def parse_args():
    """Flags."""
    parser = cli.ArgumentParser(__doc__, EXAMPLES)
    parser.add_argument(
        "--scale", type=float, default=1.5e8, help="what the first position's embedding is multiplied by"
    )
    parser.add_argument("--layers", type=int, default=24)
    parser.add_argument("--length", type=int, default=32, help="tokens in a row; 3 rows")
    parser.add_argument("--dtype", choices=["float32", "float64"], default="float32")
    parser.add_argument("--seed", type=int, default=0, help="of weights and tokens")
    return parser.parse_args()


def make(folder: Path, layers: int, scale: float, seed: int) -> None:
    """Write the checkpoint twice: ``folder/torch`` and, converted, ``folder/paddle``."""
    import torch
    import transformers

    from mobilebert.convert.convert import convert

    transformers.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    torch.manual_seed(seed)
    config = transformers.MobileBertConfig(num_hidden_layers=layers, classifier_activation=False)
    model = transformers.MobileBertModel(config)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim == 1:  # norms and biases, which start as ones and zeros
                parameter += 0.2 * torch.randn_like(parameter)
        model.embeddings.position_embeddings.weight[0] *= scale
    model.save_pretrained(folder / "torch")
    convert(folder / "torch", folder / "paddle")


def main() -> None:
    """Make, compare, print."""
    args = parse_args()
    import numpy as np

    from mobilebert.verify import model as verify

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make(folder, args.layers, args.scale, args.seed)
        torch_model = verify.load_torch(folder / "torch", "model", args.dtype)
        paddle_model = verify.load_paddle(folder / "paddle", "model", args.dtype)
        (batch,) = verify.make_batches(paddle_model.config, [args.length], args.seed)
        theirs = verify.run_torch(torch_model, "model", batch)
        ours = verify.run_paddle(paddle_model, "model", batch)
        exact = verify.run_torch(torch_model.double(), "model", batch)

    print(
        f"{'tensor':<18}{'tokens':>8}{'magnitude':>12}{'difference':>12}{'in steps':>10}{'relative':>11}"
        f"{'torch-f64':>11}{'paddle-f64':>12}"
    )
    for name in (
        "embeddings",
        "encoder.layer.0",
        f"encoder.layer.{args.layers // 2}",
        f"encoder.layer.{args.layers - 1}",
    ):
        for which, part in (("[CLS]", np.s_[:, :1]), ("others", np.s_[:, 1:])):
            truth = exact[name][part]
            magnitude, difference = np.abs(truth).max(), np.abs(ours[name][part] - theirs[name][part]).max()
            step = np.spacing(magnitude.astype(args.dtype))
            errors = [np.abs(value[name][part] - truth).max() / magnitude for value in (theirs, ours)]
            print(
                f"{name:<18}{which:>8}{magnitude:>12.3g}{difference:>12.3g}{difference / step:>10.1f}"
                f"{difference / magnitude:>11.1e}{errors[0]:>11.1e}{errors[1]:>12.1e}"
            )


if __name__ == "__main__":
    cli.run(main)
