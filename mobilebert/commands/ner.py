"""Train, evaluate and predict named entities, or other tags of words: CoNLL-2003, WNUT-17, and files of one's own."""

import argparse
from typing import NoReturn

from mobilebert.base import cli
from mobilebert.commands.classify import add_model_flags
from mobilebert.data.ner.schemes import SCHEMES
from mobilebert.data.ner.sentences import ON_BAD_TAGS, TagRules
from mobilebert.tasks.flags import (
    add_engine_flags,
    add_teacher_flags,
    add_training_flags,
    plan_from,
    settings_from,
    start_from,
)
from mobilebert.tasks.recipes import NER_RECIPES
from mobilebert.tasks.transformers_flags import NER_HINTS

EXAMPLES = """\
  %(prog)s --train_file train.conll --dev_file dev.conll --model_name_or_path weight/paddle \\
      --output_dir output_ner --do_train --do_eval
  %(prog)s --train_file annotated.jsonl --dev_file dev.jsonl --model_name_or_path weight/paddle \\
      --output_dir output_ner --do_train --do_eval --on_bad_tags repair
  %(prog)s --model_name_or_path output_ner/best --dev_file test.conll --output_dir outputs/ner --do_eval
  %(prog)s --train_file en-train.conllu --tag_column upos --model_name_or_path weight/paddle \\
      --output_dir output_pos --do_train
"""
FORMATS = (
    "words and tags in columns, a blank line between sentences (CoNLL-2003, WNUT-17; any name); CoNLL-U (.conllu); or "
    "JSON lines (.jsonl) with tokens and tags, or with text and entities [start, end, type]; plain or .gz"
)
_NOTED = "(default: as the checkpoint notes it, when it is not trained; else {})"


def parse_args() -> argparse.Namespace:
    """The command line."""
    parser = cli.ArgumentParser(__doc__, EXAMPLES, NER_HINTS)
    group = parser.add_argument_group("what to do")
    group.add_argument("--do_train", action="store_true", help="train; evaluates on the way with --do_eval")
    group.add_argument("--do_eval", action="store_true", help="tag the dev sentences and score entities and tags")
    group.add_argument("--do_predict", action="store_true", help="tag the sentences of --test_file, tagged or not")
    group.add_argument("--output_dir", "--out", metavar="DIR", required=True, help="where everything is written")
    group.add_argument(
        "--recipe", choices=(*NER_RECIPES,), default="ner", help="numbers to begin with; every flag wins over it"
    )

    group = parser.add_argument_group("data")
    group.add_argument("--train_file", metavar="FILE", help=FORMATS)
    group.add_argument("--dev_file", metavar="FILE", help="the same")
    group.add_argument("--test_file", metavar="FILE", help="the same; tags are not needed")
    group.add_argument(
        "--tag_column", metavar="COLUMN",
        help="the tags' column, 2 is the second (default: the last); of CoNLL-U upos, xpos or a key of MISC (default: "
        "NER); of JSON the key"
    )  # fmt: skip
    group.add_argument(
        "--scheme", choices=SCHEMES,
        help="what B-, I- and the like mean in the files (default: found out); plain: tags that mark no entities"
    )  # fmt: skip
    group.add_argument(
        "--on_bad_tags", choices=ON_BAD_TAGS, default="error",
        help="tags that break their scheme, spans that cut words or overlap: error names them, repair reads them as "
        "conlleval does, takes whole words, and keeps the longer span"
    )  # fmt: skip
    group.add_argument(
        "--label_all_tokens", action="store_true", help="train on all pieces of a word instead of its first"
    )
    group.add_argument(
        "--max_seq_length", metavar="TOKENS", type=int,
        help=f"tokens of a row; longer sentences are read in windows {_NOTED.format(128)}"
    )  # fmt: skip
    group.add_argument(
        "--doc_stride", metavar="TOKENS", type=int, help=f"tokens that neighbouring windows share {_NOTED.format(32)}"
    )

    add_model_flags(parser.add_argument_group("model: one of the first three"), eval_batch_size=32)

    add_teacher_flags(parser)
    add_engine_flags(parser)
    add_training_flags(parser, NER_RECIPES["ner"].settings)
    parser.set_defaults(cache_dir=None)  # reading a file again is as fast as reading a cache
    return parser.parse_args()


def main() -> None:
    """Parse and run."""
    args = parse_args()
    plan = plan_from(args)
    recipe = NER_RECIPES[args.recipe]
    rules = TagRules(args.tag_column, args.scheme, args.on_bad_tags)

    from mobilebert.inference.source import ReadingSettings
    from mobilebert.tasks.ner import NerFiles, TokenClassification
    from mobilebert.tasks.run import run as run_task
    from mobilebert.train import parallel

    cli.log_to_console()
    said = {"max_seq_length": args.max_seq_length, "doc_stride": args.doc_stride}
    given = {name: value for name, value in said.items() if value is not None}
    reading = ReadingSettings(**recipe.reading).override(**given)
    files = {kind: getattr(args, f"{kind}_file") for kind in ("train", "dev", "test") if getattr(args, f"{kind}_file")}
    run_task(
        TokenClassification(NerFiles(files, rules), reading, given, args.label_all_tokens, recipe.caution),
        plan,
        settings_from(args, recipe.settings, parallel.world_size()),
        start_from(args),
        {**vars(args), "max_seq_length": reading.max_seq_length, "doc_stride": reading.doc_stride},
    )


def run() -> NoReturn:
    """The console command."""
    cli.run(main)
