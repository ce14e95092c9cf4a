"""Make a Hugging Face checkpoint of MobileBERT with random weights and a question answering head.

Where nothing can be downloaded it stands in for google/mobilebert-uncased: a folder as ``transformers`` writes it.
"""

import sys
from pathlib import Path

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

    import torch
    from transformers import MobileBertConfig, MobileBertForQuestionAnswering
    from transformers.utils import logging

    logging.set_verbosity_error()
    logging.disable_progress_bar()
    torch.manual_seed(args.seed)
    config = MobileBertConfig(**{**settings, "vocab_size": len(vocabulary.splitlines())})
    model = MobileBertForQuestionAnswering(config)
    model.save_pretrained(args.dst)
    files.write_text(Path(args.dst) / "vocab.txt", vocabulary)
    files.write_json(
        Path(args.dst) / "tokenizer_config.json",
        {"tokenizer_class": "BertTokenizer", "do_lower_case": True, "model_max_length": config.max_position_embeddings},
    )
    parameters = sum(parameter.numel() for parameter in model.parameters())
    print(f"{args.dst}: MobileBertForQuestionAnswering, {config.num_hidden_layers} layers, {parameters:,} parameters")


if __name__ == "__main__":
    cli.run(main)
