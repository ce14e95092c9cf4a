"""Make a Hugging Face checkpoint of MobileBERT with random weights and a question answering head.

Where nothing can be downloaded it stands in for google/mobilebert-uncased: a folder as ``transformers`` writes it.
Where that is not installed, this repository's own model is drawn and converted instead.
"""

import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from mobilebert.base import cli, files
from mobilebert.base.errors import InputError

EXAMPLES = """\
  python samples/make_checkpoint.py --config samples/squad/model.json --vocab outputs/quickstart/data/vocab.txt \\
      --dst outputs/quickstart/torch"""


def main() -> None:
    """Parse, make, save."""
    parser = cli.ArgumentParser(__doc__, EXAMPLES)
    parser.add_argument("--config", required=True, help="config.json; its vocab_size is set to the vocabulary's")
    parser.add_argument("--vocab", required=True, help="vocab.txt, lower-case")
    parser.add_argument("--dst", required=True, help="folder to write")
    parser.add_argument("--seed", type=int, default=0, help="of the random weights")
    args = parser.parse_args()
    settings = files.read_json(args.config)
    vocabulary = files.read_text(args.vocab)
    if not isinstance(settings, dict):
        raise InputError(f"{args.config}: expected a JSON object, the fields of MobileBertConfig")

    positions = settings.get("max_position_embeddings", 512)
    settings = {**settings, "max_position_embeddings": positions, "vocab_size": len(vocabulary.splitlines())}
    has_transformers = find_spec("torch") is not None and find_spec("transformers") is not None
    parameters = (save_with_transformers if has_transformers else save_converted)(settings, args.dst, args.seed)
    files.write_text(Path(args.dst) / "vocab.txt", vocabulary)
    files.write_json(
        Path(args.dst) / "tokenizer_config.json",
        {"tokenizer_class": "BertTokenizer", "do_lower_case": True, "model_max_length": positions},
    )
    maker = "transformers" if has_transformers else "Paddle and convert.py, since transformers is not installed"
    print(f"{args.dst}: MobileBertForQuestionAnswering, {parameters:,} parameters, made by {maker}")


def save_with_transformers(settings: dict[str, Any], folder: str, seed: int) -> int:
    """As Hugging Face's users do. Returns the number of parameters."""
    import torch
    from transformers import MobileBertConfig, MobileBertForQuestionAnswering
    from transformers.utils import logging

    logging.set_verbosity_error()
    logging.disable_progress_bar()
    torch.manual_seed(seed)
    model = MobileBertForQuestionAnswering(MobileBertConfig(**settings))
    model.save_pretrained(folder)
    return sum(parameter.numel() for parameter in model.parameters())


def save_converted(settings: dict[str, Any], folder: str, seed: int) -> int:
    """The same architecture, drawn by Paddle, and so with other weights. Returns the number of parameters."""
    import paddle

    from mobilebert import MobileBertConfig, MobileBertForQuestionAnswering, convert

    paddle.seed(seed)
    with tempfile.TemporaryDirectory() as drawn:
        MobileBertForQuestionAnswering(MobileBertConfig.from_dict(settings)).save_pretrained(drawn)
        return convert(drawn, folder, reverse=True).num_parameters


if __name__ == "__main__":
    cli.run(main)
