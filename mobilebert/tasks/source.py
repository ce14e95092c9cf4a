"""Where a fine-tuning run's model and tokenizer come from, and whether they fit together."""

from pathlib import Path

from mobilebert.base.errors import InputError
from mobilebert.base.files import read_json
from mobilebert.model.config import CONFIG_NAME, MobileBertConfig
from mobilebert.text.tokenizer import MobileBertTokenizer

# In the output folder of every benchmark: its scores, and the model of a run without evaluation.
RESULTS, FINAL = "eval_results.json", "final"


def read_config(name: str) -> MobileBertConfig:
    """A shape without weights: a JSON file of any name, or the ``config.json`` of a folder or hub name.

    Raises:
        InputError: no such file, broken JSON or a bad value.
    """
    if not Path(name).is_file():
        return MobileBertConfig.from_pretrained(name)
    values = read_json(name)
    if not isinstance(values, dict):
        raise InputError(f"{name}: expected a JSON object as in {CONFIG_NAME}")
    try:
        return MobileBertConfig.from_dict(values)
    except InputError as error:
        raise InputError(f"{name}: {error}") from None


def check_fit(config: MobileBertConfig, tokenizer: MobileBertTokenizer, max_seq_length: int) -> None:
    """Refuse a vocabulary of another size than the model's, and rows longer than the model has positions.

    Raises:
        InputError: either.
    """
    if len(tokenizer) != config.vocab_size:
        raise InputError(
            f"the tokenizer has {len(tokenizer)} tokens, the model {config.vocab_size}; "
            "give the model's own vocabulary with --tokenizer_name"
        )
    if not 3 < max_seq_length <= config.max_position_embeddings:
        raise InputError(
            f"--max_seq_length {max_seq_length}: expected 4 to {config.max_position_embeddings} tokens, "
            "what the model has positions for"
        )
