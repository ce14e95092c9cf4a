"""Write what scripts/distill_small.sh learns from, out of SQuAD: text, a small vocabulary, some of the questions.

train.txt and dev.txt: the paragraphs, a sentence a line, a blank line between articles; every twentieth is in dev.txt.
vocab.txt: the tokens of a vocabulary that the text has most often, and all letters. train.json, dev.json: questions.
"""

import json
import re
import sys
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from mobilebert.base import cli
from mobilebert.base.errors import InputError
from mobilebert.base.files import read_text, write_json, write_text
from mobilebert.text.tokenizer import MobileBertTokenizer

EXAMPLES = (
    "  python scripts/squad_paragraphs.py --data DATA --vocab_size 8192 --questions 20000 2000 --out outputs/text"
)
HELD_OUT = 20  # one article in so many
# What ends a sentence before a capital or a digit; abbreviations end one too, which does not matter here.
_END = re.compile(r"(?<=[.!?])\s+(?=[\"'(\[]*[A-Z0-9])")


def lines_of(article: dict) -> str:
    """The sentences of an article, a line each."""
    paragraphs = (" ".join(paragraph["context"].split()) for paragraph in article["paragraphs"])
    return "\n".join(sentence for paragraph in paragraphs for sentence in _END.split(paragraph))


def thinned(articles: list[dict], number: int) -> list[dict]:
    """``number`` of the questions, evenly spread, with their paragraphs; all where there are fewer."""
    total = max(number, sum(len(paragraph["qas"]) for article in articles for paragraph in article["paragraphs"]))
    kept, seen = [], 0
    for article in articles:
        paragraphs = []
        for paragraph in article["paragraphs"]:
            places = range(seen, seen := seen + len(paragraph["qas"]))
            is_kept = [(at + 1) * number // total > at * number // total for at in places]
            if any(is_kept):
                questions = [qa for qa, keep in zip(paragraph["qas"], is_kept, strict=True) if keep]
                paragraphs.append({**paragraph, "qas": questions})
        if paragraphs:
            kept.append({**article, "paragraphs": paragraphs})
    return kept


def small_vocabulary(text: list[str], vocabulary: Path, size: int) -> list[str]:
    """``size`` tokens of a vocabulary: the special ones, all single characters, then those that ``text`` has most."""
    tokenizer = MobileBertTokenizer.from_pretrained(vocabulary)
    names = sorted(tokenizer.get_vocab(), key=tokenizer.get_vocab().__getitem__)
    counts = Counter(token for ids in tokenizer(text, add_special_tokens=False)["input_ids"] for token in ids)
    special = [name for name in names if name in tokenizer.all_special_tokens]
    letters = [name for name in names if len(name.removeprefix("##")) == 1]
    first = dict.fromkeys([*special, *letters])
    common = (names[index] for index, _ in sorted(counts.items(), key=lambda item: (-item[1], item[0])))
    kept = [*first, *(name for name in common if name not in first)][:size]
    if len(kept) < size:
        raise InputError(f"--vocab_size {size}: text and letters have {len(kept)} tokens; give at most that")
    return kept


def main() -> None:
    """Read, split, count, write."""
    parser = cli.ArgumentParser(__doc__, EXAMPLES)
    parser.add_argument("--data", required=True, metavar="DIR", help="holds squad/ and vocab.txt")
    parser.add_argument("--out", required=True, metavar="DIR", help="where the files go")
    parser.add_argument("--vocab_size", type=int, default=8192, metavar="N", help="tokens in vocab.txt (%(default)s)")
    parser.add_argument(
        "--questions", type=int, nargs=2, default=(20_000, 2_000), metavar="N", help="in train.json and dev.json"
    )
    args = parser.parse_args()
    data, out = Path(args.data), Path(args.out)
    out.mkdir(parents=True, exist_ok=True)
    for number, (name, source) in zip(args.questions, SOURCES.items(), strict=True):
        try:
            content = json.loads(read_text(data / source))
            articles = thinned(content["data"], number)
            if name == "train":
                texts = [lines_of(article) for article in content["data"]]
        except (ValueError, KeyError, TypeError):
            raise InputError(f"{data / source}: not SQuAD's JSON") from None
        write_json(out / f"{name}.json", {"version": "1.1", "data": articles}, indent=None)
    if len(texts) < 2 * HELD_OUT:
        raise InputError(f"{data / SOURCES['train']}: {len(texts)} articles; expected at least {2 * HELD_OUT}")
    parts = {
        "dev": texts[HELD_OUT - 1 :: HELD_OUT],
        "train": [text for number, text in enumerate(texts, start=1) if number % HELD_OUT],
    }
    for name, part in parts.items():
        write_text(out / f"{name}.txt", "\n\n".join(part) + "\n")
        print(f"{out / name}.txt: {len(part)} articles, {sum(map(len, part)) / 1e6:.1f} MB")
    vocabulary = small_vocabulary(parts["train"], data / "vocab.txt", args.vocab_size)
    write_text(out / "vocab.txt", "\n".join(vocabulary) + "\n")


SOURCES = {"train": "squad/train-v1.1.json.gz", "dev": "squad/dev-v1.1.json"}

if __name__ == "__main__":
    cli.run(main)
