"""Write what scripts/distill_small.sh reads out of SQuAD: its paragraphs as plain text, and some of its questions.

train.txt and dev.txt: a sentence a line, a blank line between articles; every twentieth article is in dev.txt.
questions.json: SQuAD's own form.
"""

import json
import re
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from mobilebert.base import cli
from mobilebert.base.errors import InputError
from mobilebert.base.files import read_text, write_json, write_text

EXAMPLES = "  python scripts/squad_paragraphs.py --squad train-v1.1.json.gz --questions 20000 --out outputs/distill_small/text"
HELD_OUT = 20  # one article in so many
# What ends a sentence before a capital or a digit; abbreviations end one too, which does not matter here.
_END = re.compile(r"(?<=[.!?])\s+(?=[\"'(\[]*[A-Z0-9])")


def sentences(paragraph: str) -> list[str]:
    """The sentences of a paragraph, without line breaks."""
    return _END.split(" ".join(paragraph.split()))


def thinned(articles: list[dict], number: int) -> list[dict]:
    """``number`` of the questions, evenly spread, with their paragraphs; all where there are not so many."""
    total = sum(len(paragraph["qas"]) for article in articles for paragraph in article["paragraphs"])
    kept, seen = [], 0
    for article in articles:
        paragraphs = []
        for paragraph in article["paragraphs"]:
            qas = []
            for question in paragraph["qas"]:
                seen += 1
                if seen * number // total > (seen - 1) * number // total or number >= total:
                    qas.append(question)
            if qas:
                paragraphs.append({**paragraph, "qas": qas})
        if paragraphs:
            kept.append({**article, "paragraphs": paragraphs})
    return kept


def main() -> None:
    """Read, split, write."""
    parser = cli.ArgumentParser(__doc__, EXAMPLES)
    parser.add_argument("--squad", required=True, metavar="FILE", help="SQuAD JSON, plain or .gz")
    parser.add_argument("--out", required=True, metavar="DIR", help="where the files go")
    parser.add_argument("--questions", type=int, default=20_000, metavar="N", help="in questions.json (%(default)s)")
    parser.add_argument("--text", action=cli.argparse.BooleanOptionalAction, default=True, help="write the text too")
    args = parser.parse_args()
    out = Path(args.out)
    out.mkdir(parents=True, exist_ok=True)
    try:
        content = json.loads(read_text(args.squad))
        articles = content["data"]
        texts = [[paragraph["context"] for paragraph in article["paragraphs"]] for article in articles]
        write_json(out / "questions.json", {**content, "data": thinned(articles, args.questions)}, indent=None)
    except (ValueError, KeyError, TypeError):
        raise InputError(f"{args.squad}: not SQuAD's JSON; give its train file") from None
    if not args.text:
        return
    held_out = max(1, len(texts) // HELD_OUT)
    lines = ["\n".join(line for paragraph in article for line in sentences(paragraph)) for article in texts]
    parts = {"dev": lines[HELD_OUT - 1 :: HELD_OUT] or lines[-held_out:]}
    parts["train"] = [text for text in lines if text not in set(parts["dev"])]
    for name, part in parts.items():
        write_text(out / f"{name}.txt", "\n\n".join(part) + "\n")
        print(f"{out / name}.txt: {len(part)} articles, {sum(map(len, part)) / 1e6:.1f} MB")


if __name__ == "__main__":
    cli.run(main)
